//! Tests against the real HTTP server: through rust-s3, and through our own signed requests where
//! rust-s3 has no call or hides the server's answer.

mod admin;
mod auth;
mod cli;
mod conditional;
mod crash;
mod faults;
mod handle;
mod listing;
mod lock;
mod mc;
mod multipart;
mod objects;
mod process;
mod raw;
mod rclone;
mod support;
mod versions;
