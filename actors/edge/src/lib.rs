//! What every service's REST edge shares: tokens, policy, errors, versions.
//!
//! A service writes routes and rows; here is what must be the same in front of all of them. A
//! request is numbered, its token judged on this node, its version negotiated, its body bounded and
//! read, its caller checked by a rule, and whatever goes wrong is said in that service's own format
//! and words. Nothing here makes a call or keeps a row.

pub mod context;
pub mod listener;
pub mod policy;
pub mod rest;
pub mod seal;
pub mod token;
pub mod verify;
