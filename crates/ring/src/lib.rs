//! The engine of the data threads: operations that own their buffers, one pool, one wait.
//!
//! A data thread owns one [`Engine`] and one [`Pool`]. It takes [`Buffer`]s from the pool, moves
//! them into an [`Op`], submits it under a token and gets everything back in the [`Completion`] of
//! that token. [`Engine::wait`] is the only place where the thread waits: one system call submits
//! all that was queued and sleeps until something completes, a [`Waker`] fires or time is up.
//!
//! Memory safety is ownership: whatever the kernel may read or write belongs to the engine between
//! `submit` and the completion, so nobody else can free, move or change it. This is the only crate
//! with `unsafe`; every block names the invariant it rests on.
//!
//! [`open`](open()) opens a backing disk (O_DIRECT, exclusive lock) to be registered with it.

#![allow(unsafe_code)]

mod buffer;
mod engine;
mod error;
mod inherit;
pub mod limits;
mod op;
mod open;
mod pool;
#[cfg(test)]
mod testing;
mod uring;
mod waker;

pub use buffer::Buffer;
pub use engine::{Config, Engine, Features, Stats, Turn};
pub use error::{EngineError, Full, OpenError, TableFull};
pub use inherit::listen_fds;
pub use op::{Completion, FallocateMode, FileId, Op, SocketId};
pub use open::{Access, BackingDisk, OpenOptions, open, size_of};
pub use pool::Pool;
pub use uring::Uring;
pub use waker::Waker;
