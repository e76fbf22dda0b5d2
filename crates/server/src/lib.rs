//! The unit as a program: settings, wiring, start and stop, checks, log, figures.

pub mod config;
