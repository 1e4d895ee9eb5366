//! Runs a real `clickhouse` binary in place of the embedded engine.
//!
//! Guaranteed: the same address, the same data folder, one user `default` without a password, time zone UTC. The
//! process becomes the server, so that signals and the exit status are the server's own.

use super::Options;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The `clickhouse` on the PATH.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("clickhouse")).find(|file| file.is_file())
}

/// Becomes the server; returns only when that fails.
pub(crate) fn run(binary: &Path, options: &Options) -> Result<()> {
    fs::create_dir_all(&options.path).with_context(|| format!("cannot create {}", options.path.display()))?;
    let folder =
        options.path.canonicalize().with_context(|| format!("cannot resolve {}", options.path.display()))?;
    let file = folder.join("server.xml");
    fs::write(&file, configuration(&folder, options))
        .with_context(|| format!("cannot write {}", file.display()))?;
    tracing::info!("using {} with {}", binary.display(), file.display());
    let error =
        Command::new(binary).arg("server").arg("--config-file").arg(&file).current_dir(&folder).exec();
    Err(error).with_context(|| format!("cannot run {}", binary.display()))
}

fn configuration(folder: &Path, options: &Options) -> String {
    let folder = escape(&folder.display().to_string());
    let memory =
        options.max_memory.map(|bytes| format!("<max_server_memory_usage>{bytes}</max_server_memory_usage>"));
    format!(
        "<clickhouse>
    <logger><level>warning</level><console>1</console></logger>
    <listen_host>{host}</listen_host>
    <http_port>{port}</http_port>
    <path>{folder}/</path>
    <tmp_path>{folder}/tmp/</tmp_path>
    <user_files_path>{folder}/user_files/</user_files_path>
    <format_schema_path>{folder}/format_schemas/</format_schema_path>
    <access_control_path>{folder}/access/</access_control_path>
    <timezone>UTC</timezone>
    <max_concurrent_queries>{queries}</max_concurrent_queries>
    {memory}
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password/>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <access_management>1</access_management>
            <named_collection_control>1</named_collection_control>
        </default>
    </users>
</clickhouse>
",
        host = options.listen.ip(),
        port = options.listen.port(),
        queries = options.max_concurrent_queries,
        memory = memory.unwrap_or_default(),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
