//! The tests of `cim-core` that need no more than its public functions; one binary, to link once.

mod architecture;
mod archive;
mod circles;
mod envelope;
mod inventory;
mod journal;
mod language;
mod names;
mod schemas;
mod subjects;
mod support;
mod tampered;
