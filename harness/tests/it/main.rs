//! The harness against real servers, real processes and real containers: one program for all of it, which is linked once.

mod archive;
mod authoring;
mod cli;
mod common;
mod container;
mod driver;
mod inventory;
mod killed;
mod lab;
mod many;
mod sabotage;
mod scenarios;
mod schema;
mod selftest;
