"""Crashes, damage and failing calls: sessions, the disks they leave, and the judge of these."""
