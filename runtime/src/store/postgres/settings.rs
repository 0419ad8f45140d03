//! Where the database is and how it is reached.

use std::{fmt, fs, net::IpAddr};

use tokio_postgres::{
    Client, Config, Connection, Socket,
    config::{Host, SslMode, TargetSessionAttrs},
};

use super::tls::{Secured, Tls};
use crate::store::OpenError;

/// Where Linux distributions keep the authorities that a machine trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the server's lists call this program, unless the settings say otherwise.
const APPLICATION: &str = "updraft";

/// A database for [`Store::postgres`](super::super::Store::postgres): a server, a user and a name.
///
/// A server that is not on this machine is spoken to by TLS and has to prove its name, unless the settings say
/// `sslmode=disable`. `Debug` tells no password.
#[derive(Clone)]
pub struct PostgresSettings {
    config: Config,
    tls: Tls,
    place: String,
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings").field("place", &self.place).finish_non_exhaustive()
    }
}

impl PostgresSettings {
    /// Reads a URL such as `postgresql://updraft@db.example/updraft`, or libpq's `host=... dbname=...`.
    pub fn parse(text: &str) -> Result<Self, OpenError> {
        let config = text.parse::<Config>().map_err(|error| {
            let trouble = super::Trouble::from(error);
            unusable("the settings", format!("they cannot be read: {trouble}"))
        })?;
        let place = place(&config);
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(unusable("the settings", "they name no host".to_owned()));
        }
        let explicit = text.contains("sslmode");
        let mut settings = Self { tls: system_tls(&place)?, config, place };
        settings.secure(explicit);
        Ok(settings)
    }

    /// With a password that the settings' text need not have.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    /// Whether there is a password already.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Trusting the authorities in this PEM text, instead of those that the machine trusts.
    pub fn authorities(mut self, pem: &[u8]) -> Result<Self, OpenError> {
        self.tls = Tls::trusting(pem).map_err(|why| unusable(&self.place, why))?;
        Ok(self)
    }

    /// The server and the database, for people; no password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    fn secure(&mut self, explicit: bool) {
        let local = self.config.get_hosts().iter().all(is_local)
            && self.config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        if !explicit {
            self.config.ssl_mode(if local { SslMode::Disable } else { SslMode::Require });
        } else if self.config.get_ssl_mode() == SslMode::Prefer && !local {
            // Preferring leaves the choice to whoever is on the way.
            self.config.ssl_mode(SslMode::Require);
        }
        self.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if self.config.get_application_name().is_none() {
            self.config.application_name(APPLICATION);
        }
    }

    pub(super) async fn connect(
        &self,
    ) -> Result<(Client, Connection<Socket, Secured<Socket>>), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    }
}

fn place(config: &Config) -> String {
    let named = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let addresses = config.get_hostaddrs().iter().map(ToString::to_string);
    let mut servers: Vec<String> = named.collect();
    if servers.is_empty() {
        servers = addresses.collect();
    }
    let database = config.get_dbname().or(config.get_user()).unwrap_or("?");
    format!("{database} at {}", servers.join(", "))
}

fn system_tls(place: &str) -> Result<Tls, OpenError> {
    // A machine that trusts nobody still reaches a server on itself.
    let authorities = fs::read(SYSTEM_AUTHORITIES).unwrap_or_default();
    Tls::trusting(&authorities).map_err(|why| unusable(place, why))
}

fn unusable(database: &str, reason: String) -> OpenError {
    OpenError::Database { database: database.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str) -> SslMode {
        PostgresSettings::parse(text).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn a_server_elsewhere_is_spoken_to_by_tls() {
        for elsewhere in ["postgresql://u@db.example/d", "host=10.0.0.1", "host=a sslmode=prefer"] {
            assert_eq!(mode(elsewhere), SslMode::Require, "{elsewhere}");
        }
        for here in ["postgresql://u@localhost/d", "host=127.0.0.1", "host=/run/postgresql"] {
            assert_eq!(mode(here), SslMode::Disable, "{here}");
        }
        assert_eq!(mode("host=db.example sslmode=disable"), SslMode::Disable);
        assert_eq!(mode("host=localhost sslmode=require"), SslMode::Require);
    }

    #[test]
    fn a_password_is_told_to_nobody() {
        let settings = PostgresSettings::parse("postgresql://u:secret@db.example/d").unwrap();
        let told = format!("{settings:?} {}", settings.place());
        assert!(told.contains("d at db.example") && !told.contains("secret"), "{told}");
        for wrong in ["postgresql://u:secret@db:port/d", "host=x password=secret what=1", "secret"]
        {
            let refused = PostgresSettings::parse(wrong).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused}");
        }
    }
}
