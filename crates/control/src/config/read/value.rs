//! Values that are more than a word: names, numbers, addresses.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::Reader;
use crate::config::tree::Word;
use crate::limits;

impl Reader<'_> {
    /// Checks the name of a resource or host: `[A-Za-z0-9+._-]`, as DRBD's strict set.
    pub(super) fn check_name(&mut self, name: &Word, what: &str) {
        let text = &name.text;
        let odd = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"+._-".contains(*c));
        let message = if text.is_empty() {
            format!("a {what} is not empty")
        } else if let Some(odd) = odd {
            let shown = odd.escape_default();
            format!("'{shown}' in a {what}, expected are letters, digits and + . _ -")
        } else if text.len() > limits::WORD_LEN_MAX {
            format!("a {what} has at most {} bytes", limits::WORD_LEN_MAX)
        } else if text == "all" || text.chars().all(|c| c == '.') {
            format!("'{text}' cannot be a {what}")
        } else {
            return;
        };
        self.diagnostics.error(name.at, message);
    }

    /// A decimal number of up to `max`.
    pub(super) fn number(&mut self, word: &Word, max: u64, what: &str) -> Option<u64> {
        let digits = !word.text.is_empty() && word.text.bytes().all(|b| b.is_ascii_digit());
        let number = word.text.parse().ok().filter(|number| digits && *number <= max);
        if number.is_none() {
            let message = format!("'{}' for {what}: a number, 0 to {max} expected", word.text);
            self.diagnostics.error(word.at, message);
        }
        number
    }

    /// A port, not 0.
    pub(super) fn port(&mut self, word: &Word) -> Option<u16> {
        let port = self.number(word, u64::from(u16::MAX), "a port")?;
        let port = u16::try_from(port).ok().filter(|port| *port != 0);
        if port.is_none() {
            self.diagnostics.error(word.at, "port 0 cannot be connected to");
        }
        port
    }

    /// `[ipv4|ipv6] ADDRESS:PORT`, with or without white space beside its `:`, `[` and `]`.
    pub(super) fn address(&mut self, words: &[Word]) -> Option<SocketAddr> {
        let (family, rest) = match words {
            [family, rest @ ..] if is_family(&family.text) => (family.text.as_str(), rest),
            _ => ("ipv4", words),
        };
        let Some(first) = rest.first() else {
            let at = words.first()?.at;
            self.diagnostics.error(at, format!("an address expected behind '{family}'"));
            return None;
        };
        if let Some(extra) = rest.windows(2).find(|pair| !continues(&pair[0].text, &pair[1].text)) {
            let message = format!("';' expected behind the address, not '{}'", extra[1].text);
            self.diagnostics.error(extra[1].at, message);
            return None;
        }
        let text: String = rest.iter().map(|word| word.text.as_str()).collect();
        let parsed = match family {
            "ipv6" => ipv6(&text),
            "ipv4" => ipv4(&text),
            other => {
                let message =
                    format!("'{other}' is refused: tcp over ipv4 and ipv6 is all there is");
                self.diagnostics.refuse(words[0].at, message);
                ipv4(&text)
            }
        };
        match parsed {
            Ok(found) if found.port() == 0 => {
                self.diagnostics.error(first.at, "port 0 cannot be connected to");
                None
            }
            Ok(found) => Some(found),
            Err(message) => {
                self.diagnostics.error(first.at, message);
                None
            }
        }
    }
}

/// Whether an address may go on in the next word.
fn continues(word: &str, next: &str) -> bool {
    word.ends_with(['[', ':']) || next.starts_with([']', ':'])
}

fn is_family(word: &str) -> bool {
    ["ipv4", "ipv6", "ssocks", "sdp", "sci"].contains(&word)
}

fn ipv4(text: &str) -> Result<SocketAddr, String> {
    let split = text.rsplit_once(':').and_then(|(ip, port)| {
        Some(SocketAddrV4::new(ip.parse::<Ipv4Addr>().ok()?, port.parse().ok()?))
    });
    let is_ipv6 = text.starts_with('[');
    split.map(SocketAddr::V4).ok_or_else(|| match is_ipv6 {
        true => format!("'ipv6' expected before '{text}'"),
        false => format!("'{text}' is no address, expected is A.B.C.D:PORT or ipv6 [ADDR]:PORT"),
    })
}

fn ipv6(text: &str) -> Result<SocketAddr, String> {
    let message = || format!("'{text}' is no IPv6 address, expected is [ADDR]:PORT");
    let inner = text.strip_prefix('[').ok_or_else(message)?;
    let (address, port) = inner.split_once("]:").ok_or_else(message)?;
    let port = port.parse().map_err(|_| message())?;
    let (address, scope) = match address.split_once('%') {
        Some((address, scope)) => {
            let number = scope.parse().map_err(|_| {
                format!("scope '%{scope}': the number of the interface expected (ip link)")
            })?;
            (address, number)
        }
        None => (address, 0),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| message())?;
    Ok(SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope)))
}
