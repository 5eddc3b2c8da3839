//! The storage manager as its users run it: real nats-server, real MinIO, real processes.
//!
//! Read [`support`] first, whose head says what is where, then [`exactness`]: a test starts a [`support::Lab`], publishes,
//! tiers, loses something and compares what comes back. All others are variations; they stand in groups below.

mod support;

// All of a stream comes back.
mod exactness;

mod answered_late;
mod buckets;
mod clock;
mod combined;
mod compressed;
mod deliveries;
mod drawn;
mod half_batch;
mod interest;
mod large;
mod memory;
mod odd_streams;
mod queue;
mod rolled_up;
mod small_payload;

// A stream goes on, or is another one.
mod fence;
mod hosts;
mod missed;
mod recreated;
mod shorn;
mod timelines;

// Restores of many streams, of some, and by the book.
mod in_part;
mod in_part_of_many;
mod many;
mod rehearsal;
mod runbook;
mod slow;

// Bad days of the NAS, of NATS and of the manager itself.
mod cluster;
mod faults;
mod gone;
mod idle;
mod journal_nas;
mod page;
mod slow_nas;
mod starve;
mod stop;

// The archive on the NAS: its journal, and the chains of before.
mod anew;
mod chain;
mod journal;
mod journal_damage;
mod journal_forged;
mod journal_heal;
mod journal_refused;
mod left_chain;
mod old_archives;
mod second_manager;
mod second_way;
mod standby;
mod takeover;

// The archive at Wasabi.
mod age;
mod bring_back;
mod levels;
mod no_delete;
mod refill;
mod tertiary;
mod wasabi;

// Messages that leave the archive, and such as may not.
mod erase;
mod object_lock;
mod retention;

// Keys and logins.
mod encrypted;
mod locked;
mod login;
mod rotated;

// Commands, and readers that are other programs.
mod bad_input;
mod check;
mod copy;
mod cost;
mod debian;
mod examples;
mod export;
mod nothing;
mod openness;
mod output;
mod servers;
mod sizes;
mod status;
mod verify;
