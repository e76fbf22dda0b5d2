//! The priority of commands that read or write a whole unit, which may run meanwhile.

/// The nice value that is added to that of the process: in competition for a processor the command gets a third of what the unit gets. The
/// system derives the priority of requests to the disk from it.
#[cfg(target_os = "linux")]
const NICE_VALUE: i32 = 5;

/// Lowers the priority of the calling thread, and of those that it starts later, unless whoever started the process has lowered it as much.
/// Only Linux has priorities of threads; elsewhere this does nothing.
pub(crate) fn lower() {
    #[cfg(target_os = "linux")]
    {
        let lowered = rustix::process::getpriority_process(None).and_then(|own| match own {
            ..NICE_VALUE => rustix::process::setpriority_process(None, own + NICE_VALUE),
            NICE_VALUE.. => Ok(()),
        });
        if let Err(error) = lowered {
            tracing::warn!(%error, "could not lower the priority of the command");
        }
    }
}
