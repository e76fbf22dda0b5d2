//! The floor of reading files: Nginx from the distribution, with a configuration of a few lines.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::process::{Running, free_port};

/// The program, if it is installed.
pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("nginx"))
        .find(|file| file.is_file())
}

/// Serves a folder; everything it writes goes into `scratch`.
///
/// # Errors
/// When it is not installed or does not start.
pub(crate) fn serve(scratch: &Path, folder: &Path) -> Outcome<Running> {
    let program = program().ok_or("nginx is not installed (package nginx-light)")?;
    let port = free_port()?;
    let at = scratch.display();
    let owner = Command::new("id")
        .arg("-un")
        .output()
        .map_err(|e| format!("cannot run id: {e}"))?;
    let owner = String::from_utf8_lossy(&owner.stdout).trim().to_owned();
    let user = if owner == "root" { "user root;\n" } else { "" };
    let settings = format!(
        "{user}worker_processes auto;\npid {at}/nginx.pid;\nerror_log {at}/nginx.log;\nevents {{ worker_connections 512; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; etag on; keepalive_requests 1000000000; keepalive_timeout 600;\n\
         client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
        folder.display()
    );
    let file = scratch.join("nginx.conf");
    std::fs::write(&file, settings).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let mut command = Command::new(program);
    command
        .args(["-g", "daemon off;", "-c"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(Running::start(&mut command, port)?.0)
}
