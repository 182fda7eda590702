//! The lifecycle workload on the published Rust crates: a task and its run from creation to completion, in ten commands.
//!
//! `driver deferred DIR RUNS` and `driver immediate DIR RUNS` submit them one by one; `driver replay DIR` reads the log
//! that one of them has left in DIR. Each prints one line of JSON. DIR is created.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use actionqueue_core::ids::{AttemptId, TaskId};
use actionqueue_core::mutation::{
    AttemptFinishCommand, AttemptOutcome, AttemptStartCommand, DurabilityPolicy, LeaseAcquireCommand, LeaseHeartbeatCommand,
    MutationAuthority, MutationCommand, RunCreateCommand, RunStateTransitionCommand, TaskCreateCommand,
};
use actionqueue_core::run::run_instance::RunInstance;
use actionqueue_core::run::state::RunState;
use actionqueue_core::task::constraints::TaskConstraints;
use actionqueue_core::task::metadata::TaskMetadata;
use actionqueue_core::task::run_policy::RunPolicy;
use actionqueue_core::task::task_spec::{TaskPayload, TaskSpec};
use actionqueue_storage::mutation::StorageMutationAuthority;
use actionqueue_storage::recovery::bootstrap::load_projection_from_storage;
use actionqueue_storage::recovery::reducer::ReplayReducer;
use actionqueue_storage::wal::fs_writer::WalFsWriter;
use serde_json::{json, Value};

type Failure = Box<dyn Error>;

const MOMENT: u64 = 1_700_000_000;
const OWNER: &str = "worker-0001";
const COMMANDS_A_RUN: u64 = 10;
/// Runs before the measurement, as on the Python side.
const WARM_UP_RUNS: u64 = 200;

struct Driver {
    authority: StorageMutationAuthority<WalFsWriter, ReplayReducer>,
    sequence: u64,
    /// Nanoseconds of each submit, where they are asked for: reading the clock costs a part of a Deferred one.
    times: Option<Vec<u64>>,
}

impl Driver {
    fn open(directory: &Path) -> Result<Self, Failure> {
        let wal = directory.join("wal");
        fs::create_dir_all(&wal)?;
        let writer = WalFsWriter::new(wal.join("actionqueue.wal")).map_err(|error| format!("{error:?}"))?;
        Ok(Self { authority: StorageMutationAuthority::new(writer, ReplayReducer::new()), sequence: 0, times: None })
    }

    fn submit(&mut self, policy: DurabilityPolicy, make: impl FnOnce(u64) -> MutationCommand) -> Result<(), Failure> {
        self.sequence += 1;
        let command = make(self.sequence);
        let began = self.times.is_some().then(Instant::now);
        let _outcome = self.authority.submit_command(command, policy).map_err(|error| format!("{error:?}"))?;
        if let (Some(times), Some(began)) = (self.times.as_mut(), began) {
            times.push(u64::try_from(began.elapsed().as_nanos())?);
        }
        Ok(())
    }

    fn submit_a_run(&mut self, policy: DurabilityPolicy) -> Result<(), Failure> {
        use MutationCommand as Command;
        let task_id = TaskId::new();
        let spec = TaskSpec::new(task_id, TaskPayload::new(vec![7; 100]), RunPolicy::Once, TaskConstraints::default(), TaskMetadata::default())
            .map_err(|error| format!("{error:?}"))?;
        self.submit(policy, |n| Command::TaskCreate(TaskCreateCommand::new(n, spec, MOMENT)))?;
        let run = RunInstance::new_scheduled(task_id, MOMENT, MOMENT).map_err(|error| format!("{error:?}"))?;
        let run_id = run.id();
        self.submit(policy, |n| Command::RunCreate(RunCreateCommand::new(n, run)))?;
        let go = |n, from, to, at| Command::RunStateTransition(RunStateTransitionCommand::new(n, run_id, from, to, at));
        self.submit(policy, |n| go(n, RunState::Scheduled, RunState::Ready, MOMENT))?;
        self.submit(policy, |n| Command::LeaseAcquire(LeaseAcquireCommand::new(n, run_id, OWNER.to_string(), MOMENT + 30, MOMENT)))?;
        self.submit(policy, |n| go(n, RunState::Ready, RunState::Leased, MOMENT))?;
        self.submit(policy, |n| go(n, RunState::Leased, RunState::Running, MOMENT))?;
        let attempt_id = AttemptId::new();
        self.submit(policy, |n| Command::AttemptStart(AttemptStartCommand::new(n, run_id, attempt_id, MOMENT)))?;
        self.submit(policy, |n| {
            Command::LeaseHeartbeat(LeaseHeartbeatCommand::new(n, run_id, OWNER.to_string(), MOMENT + 60, MOMENT + 30))
        })?;
        let outcome = AttemptOutcome::success_with_output(vec![1; 32]);
        self.submit(policy, |n| Command::AttemptFinish(AttemptFinishCommand::new(n, run_id, attempt_id, outcome, MOMENT + 40)))?;
        self.submit(policy, |n| go(n, RunState::Running, RunState::Completed, MOMENT + 40))
    }
}

fn lifecycle(policy: DurabilityPolicy, directory: &Path, runs: u64) -> Result<Value, Failure> {
    let mut driver = Driver::open(directory)?;
    for _ in 0..WARM_UP_RUNS {
        driver.submit_a_run(DurabilityPolicy::Deferred)?;
    }
    if policy == DurabilityPolicy::Immediate {
        driver.times = Some(Vec::new());
    }
    let began = Instant::now();
    for _ in 0..runs {
        driver.submit_a_run(policy)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut times = driver.times.take().unwrap_or_default();
    times.sort_unstable();
    let size = fs::metadata(directory.join("wal").join("actionqueue.wal"))?.len();
    Ok(json!({
        "commands": runs * COMMANDS_A_RUN,
        "seconds": seconds,
        "p50_ns": times.get(times.len() / 2),
        "p99_ns": times.get(times.len() * 99 / 100),
        "bytes_a_record": size as f64 / driver.sequence as f64,
    }))
}

/// Resident bytes of this process, as Linux says.
fn resident_bytes() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no size")?.parse::<u64>()? * 1024)
}

fn replay(directory: &Path) -> Result<Value, Failure> {
    let before = resident_bytes()?;
    let began = Instant::now();
    let loaded = load_projection_from_storage(directory).map_err(|error| format!("{error:?}"))?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "events": loaded.projection.latest_sequence(),
        "runs": loaded.projection.run_count(),
        "seconds": seconds,
        "resident_bytes": resident_bytes()?.saturating_sub(before),
    }))
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let found = match given.as_slice() {
        ["deferred", directory, runs] => lifecycle(DurabilityPolicy::Deferred, Path::new(directory), runs.parse()?)?,
        ["immediate", directory, runs] => lifecycle(DurabilityPolicy::Immediate, Path::new(directory), runs.parse()?)?,
        ["replay", directory] => replay(Path::new(directory))?,
        _ => return Err("usage: driver deferred|immediate DIR RUNS, or driver replay DIR".into()),
    };
    println!("{found}");
    Ok(())
}
