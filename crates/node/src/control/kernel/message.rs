//! Messages to the kernel's NBD client: generic netlink, family `nbd` (linux/nbd-netlink.h,
//! linux/genetlink.h). Numbers are of the host's byte order.

use rustix::io::Errno;

/// Type of messages to the controller of families.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const CONNECT: u8 = 1;
const DISCONNECT: u8 = 2;
const RECONFIGURE: u8 = 3;

const INDEX: u16 = 1;
const SIZE_BYTES: u16 = 2;
const BLOCK_SIZE_BYTES: u16 = 3;
const TIMEOUT: u16 = 4;
const SERVER_FLAGS: u16 = 5;
const SOCKETS: u16 = 7;
const DEAD_CONNECTION_TIMEOUT: u16 = 8;
const BACKEND: u16 = 10;
const SOCKET_ITEM: u16 = 1;
const SOCKET_DESCRIPTOR: u16 = 1;

const NESTED: u16 = 0x8000;
const ERROR: u16 = 2;
const REQUEST: u16 = 0x1;
const WANTS_ACK: u16 = 0x4;
const HEADER_BYTES: usize = 16;
/// Of the part that all families share, behind the header.
const GENERIC_BYTES: usize = 4;

/// What a device is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Number of the device.
    pub(crate) index: u32,
    /// Size in bytes.
    pub(crate) size_bytes: u64,
    /// Logical block in bytes.
    pub(crate) block_bytes: u64,
    /// Transmission flags, as the handshake of NBD tells them.
    pub(crate) flags: u64,
    /// Seconds that a request may take on one connection.
    pub(crate) timeout: u64,
    /// Seconds that requests wait for a new connection where none is left.
    pub(crate) dead_timeout: u64,
    /// Who it belongs to: no other one may take it over.
    pub(crate) backend: String,
    /// The kernel's ends of the connections, as numbers of this process.
    pub(crate) sockets: Vec<u32>,
}

/// Asks for the number of the family.
pub(crate) fn get_family() -> Vec<u8> {
    let mut message = Message::new(CONTROLLER, GET_FAMILY);
    message.text(FAMILY_NAME, "nbd");
    message.finish()
}

/// Connects a device that nobody has.
pub(crate) fn connect(family: u16, device: &Device) -> Vec<u8> {
    let mut message = Message::new(family, CONNECT);
    message.number(SIZE_BYTES, device.size_bytes);
    message.number(SERVER_FLAGS, device.flags);
    give(message, device)
}

/// Gives a device new connections in place of dead ones.
pub(crate) fn reconnect(family: u16, device: &Device) -> Vec<u8> {
    give(Message::new(family, RECONFIGURE), device)
}

/// Tells a device another size.
pub(crate) fn resize(family: u16, index: u32, size_bytes: u64, backend: &str) -> Vec<u8> {
    let mut message = Message::new(family, RECONFIGURE);
    message.attribute(INDEX, &index.to_ne_bytes());
    message.number(SIZE_BYTES, size_bytes);
    message.text(BACKEND, backend);
    message.finish()
}

/// Ends all connections of a device.
pub(crate) fn disconnect(family: u16, index: u32) -> Vec<u8> {
    let mut message = Message::new(family, DISCONNECT);
    message.attribute(INDEX, &index.to_ne_bytes());
    message.finish()
}

fn give(mut message: Message, device: &Device) -> Vec<u8> {
    message.attribute(INDEX, &device.index.to_ne_bytes());
    message.number(BLOCK_SIZE_BYTES, device.block_bytes);
    message.number(TIMEOUT, device.timeout);
    message.number(DEAD_CONNECTION_TIMEOUT, device.dead_timeout);
    message.text(BACKEND, &device.backend);
    let mut items = Vec::new();
    for socket in &device.sockets {
        let mut item = Vec::new();
        append(&mut item, SOCKET_DESCRIPTOR, &socket.to_ne_bytes());
        append(&mut items, SOCKET_ITEM | NESTED, &item);
    }
    message.attribute(SOCKETS | NESTED, &items);
    message.finish()
}

/// The family's number in what the controller answers; `None` where it is not the answer.
///
/// # Errors
/// There is no such family: the kernel has no NBD client.
pub(crate) fn family(answer: &[u8]) -> Result<Option<u16>, Errno> {
    let Some((kind, body)) = split(answer) else { return Ok(None) };
    if kind == ERROR {
        return outcome(body).map(|()| None);
    }
    let mut rest = body.get(GENERIC_BYTES..).unwrap_or(&[]);
    while let Some((kind, value)) = take_attribute(&mut rest) {
        if let (FAMILY_ID, Ok(id)) = (kind, value.try_into()) {
            return Ok(Some(u16::from_ne_bytes(id)));
        }
    }
    Ok(None)
}

/// Whether an answer says that the message was carried out; `None` where it is another one.
///
/// # Errors
/// What the kernel says.
pub(crate) fn acknowledged(answer: &[u8]) -> Result<Option<()>, Errno> {
    match split(answer) {
        Some((ERROR, body)) => outcome(body).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// Takes the first message off what one receive has brought.
pub(crate) fn take_message<'a>(received: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_ne_bytes(*received.first_chunk()?) as usize;
    let message = received.get(..length).filter(|it| it.len() >= HEADER_BYTES)?;
    *received = received.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some(message)
}

/// The type and the body of a message.
fn split(message: &[u8]) -> Option<(u16, &[u8])> {
    let kind = message.get(4..6)?.try_into().ok()?;
    Some((u16::from_ne_bytes(kind), message.get(HEADER_BYTES..)?))
}

fn outcome(body: &[u8]) -> Result<(), Errno> {
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw_os_error(code.wrapping_neg())),
        None => Err(Errno::PROTO),
    }
}

fn take_attribute<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
    let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & !NESTED;
    let value = rest.get(4..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, value))
}

/// A message being written.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, command: u8) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | WANTS_ACK).to_ne_bytes());
        let version = 1;
        bytes.extend_from_slice(&[command, version, 0, 0]);
        Self(bytes)
    }

    fn number(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        append(&mut self.0, kind, value);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("a few hundred bytes");
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("a few hundred bytes");
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        Device {
            index: 3,
            size_bytes: 1 << 20,
            block_bytes: 512,
            flags: 0x6d,
            timeout: 30,
            dead_timeout: 600,
            backend: "tandem a r0/0".to_owned(),
            sockets: vec![17, 18],
        }
    }

    /// All attributes of a message, those inside others too.
    fn attributes(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let mut rest = &message[HEADER_BYTES + GENERIC_BYTES..];
        let mut all = Vec::new();
        while let Some((kind, value)) = take_attribute(&mut rest) {
            all.push((kind, value.to_vec()));
        }
        assert!(rest.is_empty(), "all of it is attributes");
        all
    }

    #[test]
    fn the_family_is_asked_for_by_name() {
        #[cfg(target_endian = "little")]
        assert_eq!(
            get_family(),
            [28, 0, 0, 0, 16, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0]
                .into_iter()
                .chain([8, 0, 2, 0, b'n', b'b', b'd', 0])
                .collect::<Vec<u8>>()
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn golden_connect_and_reconnect() {
        let common: [&[u8]; 6] = [
            &[8, 0, 1, 0, 3, 0, 0, 0],
            &[12, 0, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0],
            &[12, 0, 4, 0, 30, 0, 0, 0, 0, 0, 0, 0],
            &[12, 0, 8, 0, 88, 2, 0, 0, 0, 0, 0, 0],
            b"\x12\0\x0a\0tandem a r0/0\0\0\0",
            &[
                28, 0, 7, 128, 12, 0, 1, 128, 8, 0, 1, 0, 17, 0, 0, 0, 12, 0, 1, 128, 8, 0, 1, 0,
                18, 0, 0, 0,
            ],
        ];
        let size: &[u8] = &[12, 0, 2, 0, 0, 0, 16, 0, 0, 0, 0, 0];
        let flags: &[u8] = &[12, 0, 5, 0, 109, 0, 0, 0, 0, 0, 0, 0];
        let header = |length, command| {
            [&[length, 0, 0, 0, 0x21, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[command, 1, 0, 0]]
                .concat()
        };
        let golden = [&header(136, 1), size, flags, &common.concat()].concat();
        assert_eq!(connect(0x21, &device()), golden);
        let golden = [header(112, 3), common.concat()].concat();
        assert_eq!(reconnect(0x21, &device()), golden);
        let golden = [header(28, 2), common[0].to_vec()].concat();
        assert_eq!(disconnect(0x21, 3), golden);
        let golden = [&header(60, 3), common[0], size, common[4]].concat();
        assert_eq!(resize(0x21, 3, 1 << 20, "tandem a r0/0"), golden);
    }

    #[test]
    fn a_device_is_told_all_it_needs() {
        let message = connect(0x21, &device());
        assert_eq!(message[4..6], 0x21_u16.to_ne_bytes());
        assert_eq!(message[HEADER_BYTES], CONNECT);
        let told = attributes(&message);
        let of = |kind| told.iter().find(|(it, _)| *it == kind).map(|(_, value)| &value[..]);
        assert_eq!(of(INDEX), Some(&3_u32.to_ne_bytes()[..]));
        assert_eq!(of(SIZE_BYTES), Some(&(1_u64 << 20).to_ne_bytes()[..]));
        assert_eq!(of(BACKEND), Some(&b"tandem a r0/0\0"[..]));
        let mut items = of(SOCKETS).unwrap();
        for socket in [17_u32, 18] {
            let (kind, mut item) = take_attribute(&mut items).unwrap();
            assert_eq!(kind, SOCKET_ITEM);
            let (kind, number) = take_attribute(&mut item).unwrap();
            assert_eq!((kind, number), (SOCKET_DESCRIPTOR, &socket.to_ne_bytes()[..]));
        }
        let again = attributes(&reconnect(0x21, &device()));
        assert!(again.iter().all(|(kind, _)| ![SIZE_BYTES, SERVER_FLAGS].contains(kind)));
    }

    #[test]
    fn answers_are_read_and_foreign_bytes_are_none() {
        let mut found = Message::new(CONTROLLER, 1);
        found.text(FAMILY_NAME, "nbd");
        found.attribute(FAMILY_ID, &0x2a_u16.to_ne_bytes());
        assert_eq!(family(&found.finish()), Ok(Some(0x2a)));
        let mut error = Message::new(ERROR, 0);
        error.0.truncate(HEADER_BYTES);
        error.0.extend_from_slice(&(-2_i32).to_ne_bytes());
        let error = error.finish();
        assert_eq!(family(&error), Err(Errno::NOENT));
        assert_eq!(acknowledged(&error), Err(Errno::NOENT));
        let both = [error.clone(), error].concat();
        let mut received = &both[..];
        assert_eq!(take_message(&mut received).map(<[u8]>::len), Some(20));
        assert_eq!(take_message(&mut received).map(<[u8]>::len), Some(20));
        assert_eq!(take_message(&mut received), None);
        for length in 0..24 {
            let bytes = vec![0xff; length];
            let mut received = &bytes[..];
            assert_eq!(take_message(&mut received), None);
            let _any = (family(&bytes), acknowledged(&bytes));
        }
    }
}
