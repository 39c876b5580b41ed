//! `tandemd.toml`: what only this daemon has.
//!
//! Unknown keys are errors by name: a misspelt limit must not fall back to its default in silence.
//! An empty file, and none, mean the defaults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::limits;

/// The daemon's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DaemonConfig {
    /// Section `[nbd]`.
    pub nbd: NbdConfig,
    /// Data threads, 1 to 256; `None` for the smaller of 4 and the number of cores.
    pub shards: Option<u32>,
    /// Section `[handlers]`.
    pub handlers: HandlersConfig,
    /// Section `[limits]`.
    pub limits: LimitsConfig,
}

/// Section `[nbd]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NbdConfig {
    /// TCP addresses to serve exports on, beside the socket in the run directory.
    pub listen: Vec<SocketAddr>,
    /// Connections of clients that are served at once, from 1.
    pub connections: u32,
    /// Whether volumes become `/dev/nbdN` of the kernel's NBD client, N their minor, when this
    /// node becomes Primary.
    #[serde(alias = "kernel-attach")]
    pub kernel_attach: bool,
    /// Connections of each such device, 1 to 4.
    #[serde(alias = "kernel-connections")]
    pub kernel_connections: u32,
    /// Seconds that the kernel gives a request on a connection before it gives that up, 1 to 3600;
    /// it asks again on the connection that the daemon makes it then. What was in flight when the
    /// daemon ended waits for as long, so this is short; what takes longer, on disk or at a peer,
    /// is carried out twice, so it is not shorter. 30 is what the kernel gives any disk.
    #[serde(alias = "kernel-timeout")]
    pub kernel_timeout: u64,
    /// Seconds that requests wait for a daemon that is started anew before they fail, up to a day.
    #[serde(alias = "kernel-dead-timeout")]
    pub kernel_dead_timeout: u64,
    /// What is particular to an export, by its name as in `r0/0`.
    pub exports: BTreeMap<String, ExportConfig>,
}

impl Default for NbdConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            connections: limits::NBD_CONNECTIONS_DEFAULT,
            kernel_attach: false,
            kernel_connections: 1,
            kernel_timeout: 30,
            kernel_dead_timeout: 600,
            exports: BTreeMap::new(),
        }
    }
}

/// Section `[nbd.exports."RES/VOL"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportConfig {
    /// Whether clients may only read.
    pub read_only: bool,
    /// Connections that are served at once, from 1; `None` for as many as the daemon serves.
    pub connections: Option<u32>,
}

/// Section `[handlers]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HandlersConfig {
    /// What is called with a handler's name and a resource's where a resource was put together from
    /// its parts, which carry no handlers; `None` for nothing. The parameter of DRBD's kernel
    /// module of this name, which says where drbdadm is.
    pub usermode_helper: Option<PathBuf>,
}

/// Section `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Bytes of buffers that all requests of a shard share, at least 128 MiB.
    pub pool_bytes: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { pool_bytes: limits::POOL_BYTES_MIN }
    }
}

/// Why a daemon configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DaemonConfigError {
    /// The file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is larger than any that makes sense.
    #[error("{path}: is larger than {} bytes", limits::DAEMON_CONFIG_BYTES_MAX)]
    TooLarge {
        /// The file.
        path: String,
    },
    /// It is no TOML, or a key is unknown or has a value of the wrong type.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// Line, caret and reason.
        message: String,
    },
    /// A value is outside its range.
    #[error("{path}: {key} is {value}, allowed is {allowed}")]
    Range {
        /// The file.
        path: String,
        /// The key.
        key: &'static str,
        /// The value given.
        value: String,
        /// What it may be.
        allowed: String,
    },
}

impl DaemonConfig {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// The file cannot be read or says what it may not.
    pub fn load(path: &Path) -> Result<Self, DaemonConfigError> {
        let name = path.display().to_string();
        let read_error = |source| DaemonConfigError::Read { path: name.clone(), source };
        let length = std::fs::metadata(path).map_err(read_error)?.len();
        if length > limits::DAEMON_CONFIG_BYTES_MAX {
            return Err(DaemonConfigError::TooLarge { path: name });
        }
        let text = std::fs::read_to_string(path).map_err(read_error)?;
        Self::parse(&name, &text)
    }

    /// Checks `text`; `path` is only named in errors.
    ///
    /// # Errors
    /// The text says what it may not.
    pub fn parse(path: &str, text: &str) -> Result<Self, DaemonConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| DaemonConfigError::Syntax {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &str) -> Result<(), DaemonConfigError> {
        let range = |key, value: String, allowed: String| {
            Err(DaemonConfigError::Range { path: path.to_owned(), key, value, allowed })
        };
        if let Some(shards) = self.shards
            && !(1..=limits::SHARDS_MAX).contains(&shards)
        {
            return range("shards", shards.to_string(), format!("1 to {}", limits::SHARDS_MAX));
        }
        let listeners = self.nbd.listen.len();
        if listeners > limits::LISTENERS_MAX {
            let allowed = format!("a list of up to {}", limits::LISTENERS_MAX);
            return range("nbd.listen", format!("a list of {listeners}"), allowed);
        }
        let of_exports = self.nbd.exports.values().filter_map(|export| export.connections);
        for connections in of_exports.chain([self.nbd.connections]) {
            if !(1..=limits::NBD_CONNECTIONS_MAX).contains(&connections) {
                let allowed = format!("1 to {}", limits::NBD_CONNECTIONS_MAX);
                return range("connections", connections.to_string(), allowed);
            }
        }
        if let Some(name) = self.nbd.exports.keys().find(|name| !is_export_name(name)) {
            return range("nbd.exports", format!("'{name}'"), "names like r0/0".to_owned());
        }
        let kernel = [
            ("nbd.kernel_connections", u64::from(self.nbd.kernel_connections), 1, 4),
            ("nbd.kernel_timeout", self.nbd.kernel_timeout, 1, 3600),
            ("nbd.kernel_dead_timeout", self.nbd.kernel_dead_timeout, 1, 86_400),
        ];
        for (key, value, low, high) in kernel {
            if !(low..=high).contains(&value) {
                return range(key, value.to_string(), format!("{low} to {high}"));
            }
        }
        if let Some(helper) = &self.handlers.usermode_helper
            && !helper.is_absolute()
        {
            // Handlers run in the daemon's folder, which is whatever it was started in.
            let value = format!("'{}'", helper.display());
            return range("handlers.usermode_helper", value, "an absolute path".to_owned());
        }
        let pool_bytes = self.limits.pool_bytes;
        if pool_bytes < limits::POOL_BYTES_MIN {
            let allowed = format!("{} and more", limits::POOL_BYTES_MIN);
            return range("limits.pool_bytes", pool_bytes.to_string(), allowed);
        }
        Ok(())
    }
}

fn is_export_name(name: &str) -> bool {
    name.split_once('/').is_some_and(|(resource, volume)| {
        !resource.is_empty() && volume.parse::<u16>().is_ok_and(|it| it.to_string() == volume)
    })
}

#[cfg(test)]
mod tests {
    use super::DaemonConfig;
    use crate::limits;

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = DaemonConfig::parse("t.toml", "").unwrap();
        assert_eq!(config, DaemonConfig::default());
        assert_eq!(config.limits.pool_bytes, limits::POOL_BYTES_MIN);
    }

    #[test]
    fn every_key_is_read() {
        let text = "shards = 2\n[nbd]\nlisten = [\"127.0.0.1:10809\", \"[::1]:10809\"]\n\
                    connections = 7\nkernel-attach = true\nkernel_connections = 4\n\
                    kernel_timeout = 9\n[nbd.exports.\"r0/0\"]\nread_only = true\n\
                    connections = 2\n[handlers]\nusermode_helper = \"/sbin/drbdadm\"\n\
                    [limits]\npool_bytes = 268435456\n";
        let config = DaemonConfig::parse("t.toml", text).unwrap();
        assert_eq!(config.shards, Some(2));
        assert_eq!((config.nbd.listen.len(), config.nbd.connections), (2, 7));
        let kernel = (config.nbd.kernel_attach, config.nbd.kernel_connections);
        assert_eq!((kernel, config.nbd.kernel_timeout), ((true, 4), 9));
        let export = &config.nbd.exports["r0/0"];
        assert_eq!((export.read_only, export.connections), (true, Some(2)));
        assert_eq!(config.handlers.usermode_helper, Some("/sbin/drbdadm".into()));
        assert_eq!(config.limits.pool_bytes, 256 << 20);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("shard = 2", "unknown field `shard`"),
            ("[nbd]\nlisten_on = []", "unknown field `listen_on`"),
            ("[nbd]\nlisten = [\"localhost\"]", "invalid socket address"),
            ("[limits]\npool = 1", "unknown field `pool`"),
            ("shards = 0", "t.toml: shards is 0, allowed is 1 to 256"),
            ("shards = 257", "t.toml: shards is 257"),
            ("shards = -1", "invalid value"),
            ("[nbd]\nconnections = 0", "connections is 0, allowed is 1 to 1000"),
            ("[nbd]\nkernel_connections = 5", "kernel_connections is 5, allowed is 1 to 4"),
            ("[nbd]\nkernel_dead_timeout = 0", "kernel_dead_timeout is 0, allowed is 1 to 86400"),
            ("[nbd.exports.\"r0/0\"]\nconnections = 1001", "connections is 1001"),
            ("[nbd.exports.r0]\nread_only = true", "nbd.exports is 'r0', allowed is names like"),
            ("[nbd.exports.\"r0/00\"]", "nbd.exports is 'r0/00'"),
            ("[handlers]\nfence-peer = \"/a\"", "unknown field `fence-peer`"),
            ("[handlers]\nusermode_helper = 5", "expected path string"),
            (
                "[handlers]\nusermode_helper = \"drbdadm\"",
                "handlers.usermode_helper is 'drbdadm', allowed is an absolute path",
            ),
            ("[handlers]\nusermode_helper = \"\"", "handlers.usermode_helper is '', allowed"),
            ("[limits]\npool_bytes = 1", "limits.pool_bytes is 1, allowed is 134217728 and more"),
            ("[nbd", "t.toml: TOML parse error at line 1"),
        ] {
            let error = DaemonConfig::parse("t.toml", text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_missing_file_and_a_huge_one_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.toml");
        let error = DaemonConfig::load(&path).unwrap_err().to_string();
        assert!(error.contains("t.toml: No such file"), "{error}");
        std::fs::write(&path, "#".repeat(70_000)).unwrap();
        let error = DaemonConfig::load(&path).unwrap_err().to_string();
        assert!(error.contains("is larger than 65536 bytes"), "{error}");
    }

    /// What a section may have is in the error of what it may not.
    #[test]
    fn the_manual_page_has_every_key() {
        let page = include_str!("../../../docs/man/tandemd.toml.5");
        let sections = ["", "[nbd]\n", "[nbd.exports.\"r0/0\"]\n", "[handlers]\n", "[limits]\n"];
        let errors = sections.map(|section| {
            let text = format!("{section}no_such_key = 1");
            DaemonConfig::parse("t.toml", &text).unwrap_err().to_string()
        });
        let mut keys = 0;
        for error in &errors {
            let (_, expected) = error.split_once("expected ").expect("it says what there is");
            for key in expected.split('`').skip(1).step_by(2) {
                let is_section = ["nbd", "limits", "exports", "handlers"].contains(&key);
                let form = if is_section { key.to_owned() } else { format!("Cm {key}") };
                assert!(page.contains(&form), "{key}");
                keys += 1;
            }
        }
        assert!(keys > 10, "{errors:?}");
    }
}
