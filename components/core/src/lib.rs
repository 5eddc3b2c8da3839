//! Types that every CIM component shares: names, envelope, subjects, schemas, the archive's layout and
//! the inventory. No I/O.

pub mod archive;
pub mod envelope;
pub mod inventory;
pub mod names;
pub mod schemas;
pub mod subjects;
