//! The baseline of reading files: Nginx as the distribution packages it, with a short configuration.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use personium_testkit::free_port;

use crate::BenchResult;
use crate::server_process::ServerProcess;

/// Returns the path of Nginx; `None` if it is not installed.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("nginx"))
        .find(|file| file.is_file())
}

/// Serves a folder. Nginx writes its own files to `scratch`.
///
/// # Errors
/// A message if Nginx is not installed or does not start.
pub(crate) fn serve(scratch: &Path, folder: &Path) -> BenchResult<ServerProcess> {
    let program = program().ok_or("nginx is not installed (package nginx-light)")?;
    let port = free_port();
    let at = scratch.display();
    let id = Command::new("id")
        .arg("-un")
        .output()
        .map_err(|error| format!("cannot run id: {error}"))?;
    let is_root = String::from_utf8_lossy(&id.stdout).trim() == "root";
    let user = if is_root { "user root;\n" } else { "" };
    let config = format!(
        "{user}worker_processes auto;\npid {at}/nginx.pid;\nerror_log {at}/nginx.log;\nevents {{ worker_connections 512; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; etag on; keepalive_requests 1000000000; keepalive_timeout 600;\n\
         client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
        folder.display()
    );
    let file = scratch.join("nginx.conf");
    std::fs::write(&file, config)
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    let mut command = Command::new(program);
    command
        .args(["-g", "daemon off;", "-c"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    ServerProcess::start(&mut command, port)
}
