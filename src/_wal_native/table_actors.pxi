# --- Actors, tenants, roles, capabilities and the ledger ------------------------------------------

cdef object actor_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_actor_view actor
    aqw_table_actor(table, row, &actor)
    # Building the registration may run a finalizer, which may register the actor again and so free
    # these bytes.
    cdef bytes kept = bytes_of(actor.registration)
    actor.registration.data = <const uint8_t *><const char *>kept
    return (
        registration_from_c(id_from_data(ActorId, actor.actor_id), actor.registration),
        actor.registered_at,
        time_if(actor.has_heartbeat, actor.last_heartbeat_at),
        time_if(actor.is_deregistered, actor.deregistered_at),
    )


cdef object tenant_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_tenant_view tenant
    aqw_table_tenant(table, row, &tenant)
    return id_from_data(TenantId, tenant.tenant_id), text_of(tenant.name), tenant.created_at


cdef object role_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_role_view role
    aqw_table_role(table, row, &role)
    return (
        id_from_data(ActorId, role.actor_id),
        id_from_data(TenantId, role.tenant_id),
        role_from_c(role.role),
        role.assigned_at,
    )


cdef object capability_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_capability_view grant
    aqw_table_capability(table, row, &grant)
    return (
        id_from_data(ActorId, grant.actor_id),
        id_from_data(TenantId, grant.tenant_id),
        capability_from_c(grant.capability),
        grant.granted_at,
        time_if(grant.is_revoked, grant.revoked_at),
    )


cdef object ledger_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_ledger_view entry
    aqw_table_ledger(table, row, &entry)
    return (
        id_from_data(LedgerEntryId, entry.entry_id),
        id_from_data(TenantId, entry.tenant_id),
        text_of(entry.ledger_key),
        id_from_data(ActorId, entry.actor_id) if entry.has_actor else None,
        bytes_of(entry.payload),
        entry.timestamp,
    )


cdef class _ActorQueries(_BudgetQueries):
    """Queries for actors, tenants, roles, capabilities and the ledger."""

    @cython.critical_section
    def read_actor(self, ActorId actor_id not None, /):
        """Return (registration, registered_at, last_heartbeat_at, deregistered_at).

        None for an unknown actor.
        """
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_actor(self.settled(), actor_id.data)
            return actor_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_actors(self):
        """Return what :meth:`read_actor` returns for every actor.

        They are in the order of their first registration.
        """
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_ACTOR, actor_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_tenant(self, TenantId tenant_id not None, /):
        """Return (tenant_id, name, created_at); None for an unknown tenant."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_tenant(self.settled(), tenant_id.data)
            return tenant_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_tenants(self):
        """Return what :meth:`read_tenant` returns for every tenant, in the order of creation."""
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_TENANT, tenant_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_role(self, ActorId actor_id not None, TenantId tenant_id not None, /):
        """Return (actor_id, tenant_id, role, assigned_at); None where no role was assigned."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_role(self.settled(), actor_id.data, tenant_id.data)
            return role_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_roles(self):
        """Return what :meth:`read_role` returns for every actor and tenant.

        They are in the order of their first assignment.
        """
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_ROLE, role_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_capability(
        self, ActorId actor_id not None, TenantId tenant_id not None, capability not None, /
    ):
        """Return (actor_id, tenant_id, capability, granted_at, revoked_at).

        None where the capability was not granted.
        """
        cdef bytes encoded
        cdef const uint8_t *data
        cdef aqw_bytes key
        cdef uint32_t row
        self.hold()
        try:
            encoded = capability_to_bytes(capability)
            data = encoded
            key.data = data
            key.size = <uint32_t>len(encoded)
            row = aqw_table_find_capability(self.settled(), actor_id.data, tenant_id.data, key)
            return capability_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_capabilities(self):
        """Return what :meth:`read_capability` returns for every grant.

        They are in the order of their first grant.
        """
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_CAPABILITY, capability_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_ledger(self):
        """Return a list of (entry_id, tenant_id, ledger_key, actor_id, payload, timestamp).

        It is in the order of the log.
        """
        self.hold()
        try:
            return rows_of(self.settled(), AQW_ROW_LEDGER, ledger_tuple)
        finally:
            self.let_go()
