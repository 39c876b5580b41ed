//! The handshake of one connection: fixed newstyle, from the greeting to the chosen export.
//!
//! [`Handshake`] owns the bytes received and not yet understood (bounded by
//! [`HANDSHAKE_BUFFER_BYTES_MAX`]) and the answer that is being built. The shell's loop is one
//! `match` on [`poll`](Handshake::poll): send what it says, feed it when it needs bytes, answer
//! what it asks, until it is ready or closes. How the bytes were cut into reads makes no
//! difference.
//!
//! What does not fit is answered in the way that hurts least: an option we do not have is UNSUP,
//! one that is malformed INVALID, and haggling goes on. Only what the protocol gives no answer to
//! (a refused EXPORT_NAME) or what no client does (floods, wrong magic, unknown flags) ends it.

use bytes::{Buf, Bytes, BytesMut};

use crate::context::ContextSet;
use crate::error::CloseReason;
use crate::export::{ExportEntry, ExportInfo, Refusal};
use crate::limits::{
    CONTEXT_OPTION_BYTES_MAX, HANDSHAKE_BUFFER_BYTES_MAX, OPTION_BYTES_MAX,
    OPTION_PARSED_BYTES_MAX, OPTIONS_MAX, STRING_BYTES_MAX,
};
use crate::terms::{Replies, Terms};
use crate::wire::{
    CLIENT_FLAGS_BYTES, OPTION_HEADER_BYTES, OPTION_MAGIC, client_flag, option, option_reply,
};

mod answer;
mod query;

use query::{ContextQuery, InfoQuery, parse_context_query, parse_info_query, parse_name};

/// The handshake. See the module for how to drive it.
#[derive(Debug)]
pub struct Handshake {
    state: State,
    input: BytesMut,
    output: BytesMut,
    /// The client does not want the 124 zero bytes.
    no_zeroes: bool,
    options: u32,
    terms: Terms,
    /// The name of the export whose contexts were chosen, as the client wrote it.
    contexts_of: String,
}

/// What the shell has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeOutput {
    /// Send these bytes.
    Send(Bytes),
    /// Receive and call [`Handshake::handle_bytes`].
    NeedBytes,
    /// Look the export up and call [`Handshake::answer_export`]. Repeated until answered.
    QueryExport {
        /// As the client sent it; empty for the default export.
        name: String,
        /// What the client will do with it.
        purpose: Purpose,
    },
    /// Call [`Handshake::answer_list`]. Repeated until answered.
    QueryList,
    /// The end: everything is sent and the client may send requests.
    Ready {
        /// What [`Handshake::answer_export`] was given.
        export: ExportInfo,
        /// What else was agreed on.
        terms: Terms,
        /// Bytes received after the handshake: the first of the transmission phase.
        rest: Bytes,
    },
    /// The end: close the connection.
    Close(CloseReason),
}

/// Why the client asks about an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Only to know about it (INFO).
    Info,
    /// To use it; a refusal is answered (GO).
    Go,
    /// To use it; a refusal closes the connection (EXPORT_NAME).
    ExportName,
}

/// What the next bytes are, or whose turn it is.
#[derive(Debug)]
enum State {
    ClientFlags,
    OptionHeader,
    /// The payload of an option that we understand is arriving.
    Payload {
        option: u32,
        len: u32,
    },
    /// Payload is being thrown away.
    Skipping {
        option: u32,
        remaining: u32,
        then: Then,
    },
    AwaitExport(InfoQuery),
    AwaitContexts(ContextQuery),
    AwaitList,
    /// The last answer is on its way out.
    Chosen(ExportInfo),
    /// The export was handed to the shell.
    HandedOver,
    Closed(CloseReason),
}

/// What follows a skipped payload.
#[derive(Debug, Clone, Copy)]
enum Then {
    Refuse { reply: u32, text: &'static str },
    Abort,
}

impl Handshake {
    /// Starts with the server's greeting.
    #[must_use]
    pub fn new() -> Self {
        let mut output = BytesMut::new();
        answer::greeting(&mut output);
        let input = BytesMut::new();
        let (state, terms) = (State::ClientFlags, Terms::default());
        let (no_zeroes, options, contexts_of) = (false, 0, String::new());
        Self { state, input, output, no_zeroes, options, terms, contexts_of }
    }

    /// Takes bytes from the client, at most [`crate::limits::HANDSHAKE_FEED_BYTES_MAX`] at once and
    /// only when [`HandshakeOutput::NeedBytes`] asked for them; more than that may end the
    /// connection. Bytes after the end by [`HandshakeOutput::Close`] are ignored.
    ///
    /// # Panics
    /// After [`HandshakeOutput::Ready`]: these bytes belong to the transmission phase.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        assert!(!matches!(self.state, State::HandedOver), "bytes after the end of the handshake");
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        if self.input.len() + bytes.len() > HANDSHAKE_BUFFER_BYTES_MAX {
            self.state = State::Closed(CloseReason::InputOverflow);
            return;
        }
        self.input.extend_from_slice(bytes);
    }

    /// What to do next; call it until it says [`HandshakeOutput::NeedBytes`] or one of the ends.
    ///
    /// # Panics
    /// After [`HandshakeOutput::Ready`].
    pub fn poll(&mut self) -> HandshakeOutput {
        loop {
            if !self.output.is_empty() {
                return HandshakeOutput::Send(self.output.split().freeze());
            }
            let next = match &self.state {
                State::ClientFlags => self.client_flags(),
                State::OptionHeader => self.option_header(),
                State::Payload { option, len } => self.payload(*option, *len),
                State::Skipping { option, remaining, then } => {
                    self.skip(*option, *remaining, *then)
                }
                State::AwaitExport(query) => {
                    let (name, purpose) = (query.name.clone(), query.purpose);
                    return HandshakeOutput::QueryExport { name, purpose };
                }
                State::AwaitContexts(query) => {
                    let (name, purpose) = (query.name.clone(), Purpose::Info);
                    return HandshakeOutput::QueryExport { name, purpose };
                }
                State::AwaitList => return HandshakeOutput::QueryList,
                State::Chosen(export) => {
                    let (export, rest) = (export.clone(), self.input.split().freeze());
                    self.state = State::HandedOver;
                    return HandshakeOutput::Ready { export, terms: self.terms, rest };
                }
                State::HandedOver => panic!("poll after the end of the handshake"),
                State::Closed(reason) => return HandshakeOutput::Close(reason.clone()),
            };
            match next {
                Some(state) => self.state = state,
                None => return HandshakeOutput::NeedBytes,
            }
        }
    }

    /// Answers [`HandshakeOutput::QueryExport`].
    ///
    /// # Panics
    /// If that was not asked.
    pub fn answer_export(&mut self, result: Result<ExportInfo, Refusal>) {
        if let State::AwaitContexts(query) = &self.state {
            let chosen = answer_contexts(&mut self.output, query, result);
            if query.option == option::SET_META_CONTEXT {
                self.terms.contexts = chosen;
                self.contexts_of.clone_from(&query.name);
            }
            self.state = State::OptionHeader;
            return;
        }
        let State::AwaitExport(query) = &self.state else {
            panic!("no export was asked for");
        };
        if query.purpose != Purpose::Info && query.name != self.contexts_of {
            self.terms.contexts = ContextSet::default();
        }
        let next = match (query.purpose, result) {
            (Purpose::ExportName, Err(refusal)) => {
                State::Closed(CloseReason::Refused(refusal.reason))
            }
            (Purpose::ExportName, Ok(export)) => {
                answer::export_name(&mut self.output, &export, self.terms, self.no_zeroes);
                State::Chosen(export)
            }
            (Purpose::Info | Purpose::Go, Err(refusal)) => {
                answer::refusal(&mut self.output, query.option(), &refusal);
                State::OptionHeader
            }
            (Purpose::Info, Ok(export)) => {
                answer::info(&mut self.output, query, &export, self.terms);
                State::OptionHeader
            }
            (Purpose::Go, Ok(export)) => {
                answer::info(&mut self.output, query, &export, self.terms);
                State::Chosen(export)
            }
        };
        self.state = next;
    }

    /// Answers [`HandshakeOutput::QueryList`] with the exports that this client may see.
    ///
    /// # Panics
    /// If that was not asked.
    pub fn answer_list(&mut self, exports: &[ExportEntry]) {
        assert!(matches!(self.state, State::AwaitList), "no list was asked for");
        answer::list(&mut self.output, exports);
        self.state = State::OptionHeader;
    }

    fn client_flags(&mut self) -> Option<State> {
        let flags = self.take(CLIENT_FLAGS_BYTES)?.get_u32();
        if flags & !client_flag::ALL != 0 {
            return Some(State::Closed(CloseReason::UnknownClientFlags(flags)));
        }
        self.no_zeroes = flags & client_flag::NO_ZEROES != 0;
        Some(State::OptionHeader)
    }

    fn option_header(&mut self) -> Option<State> {
        let mut header = self.take(OPTION_HEADER_BYTES)?;
        let (magic, option, len) = (header.get_u64(), header.get_u32(), header.get_u32());
        if magic != OPTION_MAGIC {
            return Some(State::Closed(CloseReason::WrongOptionMagic(magic)));
        }
        if len > option_bytes_max(option) {
            return Some(State::Closed(CloseReason::OptionTooLong { option, len_bytes: len }));
        }
        self.options += 1;
        if self.options > OPTIONS_MAX {
            return Some(State::Closed(CloseReason::TooManyOptions));
        }
        Some(match option {
            option::STRUCTURED_REPLY | option::EXTENDED_HEADERS if len == 0 => {
                self.agree_on_replies(option)
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                if option == option::SET_META_CONTEXT {
                    // Whatever comes of it, what was chosen before is not any more.
                    self.terms.contexts = ContextSet::default();
                }
                begin_contexts(option, len, self.terms.replies)
            }
            _ => begin_option(option, len),
        })
    }

    /// STRUCTURED_REPLY or EXTENDED_HEADERS; there is no way back from the one or the other.
    fn agree_on_replies(&mut self, option: u32) -> State {
        let is_structured = option == option::STRUCTURED_REPLY;
        let (reply, text) = match (self.terms.replies, is_structured) {
            (Replies::Simple, true) => {
                self.terms.replies = Replies::Structured;
                answer::ack(&mut self.output, option);
                return State::OptionHeader;
            }
            (Replies::Simple | Replies::Structured, false) => {
                self.terms.replies = Replies::Extended;
                answer::ack(&mut self.output, option);
                return State::OptionHeader;
            }
            (Replies::Structured, true) => {
                (option_reply::ERR_INVALID, "structured replies were agreed on before")
            }
            (Replies::Extended, true) => {
                (option_reply::ERR_EXT_HEADER_REQD, "extended headers were agreed on before")
            }
            (Replies::Extended, false) => {
                (option_reply::ERR_INVALID, "extended headers were agreed on before")
            }
        };
        answer::error(&mut self.output, option, reply, text);
        State::OptionHeader
    }

    fn payload(&mut self, option: u32, len: u32) -> Option<State> {
        let payload = self.take(len as usize)?;
        if option == option::EXPORT_NAME {
            return Some(match parse_name(&payload) {
                Ok(name) => State::AwaitExport(InfoQuery::export_name(name)),
                Err(error) => State::Closed(CloseReason::Name(error)),
            });
        }
        let parsed = match option {
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                parse_context_query(option, &payload).map(State::AwaitContexts)
            }
            option::GO => parse_info_query(Purpose::Go, &payload).map(State::AwaitExport),
            _ => parse_info_query(Purpose::Info, &payload).map(State::AwaitExport),
        };
        Some(parsed.unwrap_or_else(|error| {
            answer::error(&mut self.output, option, error.reply(), &error.to_string());
            State::OptionHeader
        }))
    }

    fn skip(&mut self, option: u32, remaining: u32, then: Then) -> Option<State> {
        let skipped = self.input.len().min(remaining as usize);
        self.input.advance(skipped);
        let remaining = remaining - u32::try_from(skipped).expect("not more than remaining");
        if remaining > 0 {
            self.state = State::Skipping { option, remaining, then };
            return None;
        }
        Some(match then {
            Then::Refuse { reply, text } => {
                answer::error(&mut self.output, option, reply, text);
                State::OptionHeader
            }
            Then::Abort => {
                answer::ack(&mut self.output, option);
                State::Closed(CloseReason::Aborted)
            }
        })
    }

    fn take(&mut self, len: usize) -> Option<BytesMut> {
        (self.input.len() >= len).then(|| self.input.split_to(len))
    }
}

impl Default for Handshake {
    fn default() -> Self {
        Self::new()
    }
}

/// Payload beyond which an option is not even skipped.
fn option_bytes_max(option: u32) -> u32 {
    match option {
        option::LIST_META_CONTEXT | option::SET_META_CONTEXT => CONTEXT_OPTION_BYTES_MAX,
        _ => OPTION_BYTES_MAX,
    }
}

fn skip(option: u32, len: u32, reply: u32, text: &'static str) -> State {
    State::Skipping { option, remaining: len, then: Then::Refuse { reply, text } }
}

fn begin_contexts(option: u32, len: u32, replies: Replies) -> State {
    if !replies.has_chunks() {
        let text = "agree on structured replies before";
        return skip(option, len, option_reply::ERR_INVALID, text);
    }
    if len > OPTION_PARSED_BYTES_MAX {
        return skip(option, len, option_reply::ERR_TOO_BIG, "too many queries");
    }
    State::Payload { option, len }
}

fn answer_contexts(
    output: &mut BytesMut,
    query: &ContextQuery,
    result: Result<ExportInfo, Refusal>,
) -> ContextSet {
    match result {
        Ok(export) => answer::contexts(output, query, &export),
        Err(refusal) => {
            answer::refusal(output, query.option, &refusal);
            ContextSet::default()
        }
    }
}

/// Decides by an option's header what happens to its payload.
fn begin_option(option: u32, len: u32) -> State {
    let refuse = |reply, text| skip(option, len, reply, text);
    match option {
        option::EXPORT_NAME if len as usize > STRING_BYTES_MAX => {
            State::Closed(CloseReason::Name(crate::NameError::TooLong))
        }
        option::EXPORT_NAME => State::Payload { option, len },
        option::INFO | option::GO if len > OPTION_PARSED_BYTES_MAX => {
            refuse(option_reply::ERR_INVALID, "option is longer than it can be")
        }
        option::INFO | option::GO => State::Payload { option, len },
        option::ABORT => State::Skipping { option, remaining: len, then: Then::Abort },
        option::LIST if len == 0 => State::AwaitList,
        option::LIST | option::STARTTLS | option::STRUCTURED_REPLY | option::EXTENDED_HEADERS
            if len > 0 =>
        {
            refuse(option_reply::ERR_INVALID, "option takes no data")
        }
        option::STARTTLS => refuse(option_reply::ERR_POLICY, "TLS is not configured"),
        _ => refuse(option_reply::ERR_UNSUP, "option is not supported"),
    }
}

#[cfg(test)]
mod tests;
