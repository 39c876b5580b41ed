//! The bytes that a server sends in the handshake.
//!
//! Each function appends one whole answer. A reply to an option is: magic 8, the option 4, the type
//! of the reply 4, length 4, payload. Strings are cut to what the protocol allows.

use bytes::{BufMut, BytesMut};

use super::query::{ContextQuery, InfoQuery};
use crate::context::{Context, ContextSet};
use crate::export::{ExportEntry, ExportInfo, Refusal, RefusalKind};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, BLOCK_BYTES_PREFERRED, STRING_BYTES_MAX};
use crate::terms::Terms;
use crate::wire::{
    EXPORT_NAME_PADDING_BYTES, OPTION_MAGIC, OPTION_REPLY_MAGIC, SERVER_MAGIC, handshake_flag,
    info, option, option_reply,
};

pub(super) fn greeting(output: &mut BytesMut) {
    output.put_u64(SERVER_MAGIC);
    output.put_u64(OPTION_MAGIC);
    output.put_u16(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES);
}

pub(super) fn ack(output: &mut BytesMut, option: u32) {
    reply(output, option, option_reply::ACK, &[]);
}

pub(super) fn error(output: &mut BytesMut, option: u32, reply_type: u32, text: &str) {
    reply(output, option, reply_type, &[clip(text)]);
}

pub(super) fn refusal(output: &mut BytesMut, option: u32, refusal: &Refusal) {
    let reply_type = match refusal.kind {
        RefusalKind::Unknown => option_reply::ERR_UNKNOWN,
        RefusalKind::Policy => option_reply::ERR_POLICY,
        RefusalKind::Shutdown => option_reply::ERR_SHUTDOWN,
    };
    error(output, option, reply_type, &refusal.reason);
}

/// One reply for each export: length of the name 4, name, description; then an ACK.
pub(super) fn list(output: &mut BytesMut, exports: &[ExportEntry]) {
    for export in exports {
        let name = clip(&export.name);
        let len = u32::try_from(name.len()).expect("a clipped string is short").to_be_bytes();
        let pieces = [&len[..], name, clip(&export.description)];
        reply(output, option::LIST, option_reply::SERVER, &pieces);
    }
    ack(output, option::LIST);
}

/// The information about an export, then an ACK.
pub(super) fn info(output: &mut BytesMut, query: &InfoQuery, export: &ExportInfo, terms: Terms) {
    let option = query.option();
    let mut send = |info: u16, pieces: [&[u8]; 3]| {
        let [a, b, c] = pieces;
        reply(output, option, option_reply::INFO, &[&info.to_be_bytes(), a, b, c]);
    };
    let size_bytes = export.size_bytes.to_be_bytes();
    send(info::EXPORT, [&size_bytes, &export.transmission_flags(terms).to_be_bytes(), &[]]);
    if query.wants.name {
        send(info::NAME, [clip(&export.name), &[], &[]]);
    }
    if query.wants.description && !export.description.is_empty() {
        send(info::DESCRIPTION, [clip(&export.description), &[], &[]]);
    }
    if query.wants.block_size {
        let (min, preferred) = (BLOCK_BYTES_MIN.to_be_bytes(), BLOCK_BYTES_PREFERRED.to_be_bytes());
        send(info::BLOCK_SIZE, [&min, &preferred, &BLOCK_BYTES_MAX.to_be_bytes()]);
    }
    ack(output, option);
}

/// The contexts of an export that a query means: id 4, or 0 in a list, and name each; then an ACK.
/// Returns those that were chosen.
pub(super) fn contexts(
    output: &mut BytesMut,
    query: &ContextQuery,
    export: &ExportInfo,
) -> ContextSet {
    let mut chosen = ContextSet::default();
    for context in Context::all(&export.peers) {
        let name = context.name(&export.peers);
        if !query.matches(&name) {
            continue;
        }
        let is_chosen = query.option == option::SET_META_CONTEXT;
        if is_chosen {
            chosen.insert(context);
        }
        let id = if is_chosen { context.id() } else { 0 };
        reply(output, query.option, option_reply::META_CONTEXT, &[&id.to_be_bytes(), clip(&name)]);
    }
    ack(output, query.option);
    chosen
}

/// The answer to EXPORT_NAME, which is none of the replies: size 8, flags 2, maybe zeroes.
pub(super) fn export_name(
    output: &mut BytesMut,
    export: &ExportInfo,
    terms: Terms,
    no_zeroes: bool,
) {
    output.put_u64(export.size_bytes);
    output.put_u16(export.transmission_flags(terms));
    if !no_zeroes {
        output.put_bytes(0, EXPORT_NAME_PADDING_BYTES);
    }
}

fn reply(output: &mut BytesMut, option: u32, reply_type: u32, pieces: &[&[u8]]) {
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    output.put_u64(OPTION_REPLY_MAGIC);
    output.put_u32(option);
    output.put_u32(reply_type);
    output.put_u32(u32::try_from(len).expect("replies consist of short strings"));
    for piece in pieces {
        output.put_slice(piece);
    }
}

fn clip(text: &str) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(STRING_BYTES_MAX)]
}
