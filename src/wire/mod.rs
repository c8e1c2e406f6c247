//! The dialects: requests from bytes, replies to bytes, and both for a client.
//!
//! One file per dialect, each with the same parts in the same order:
//!
//! 0. `SERVER_RULES`: behaviour that the dialect needs from the hub, besides replies to its frames;
//! 1. `frame`: where the first frame of a stream ends;
//! 2. `decode`: the request of a whole frame;
//! 3. `Bets`: the bets of a batch, read straight from the frame;
//! 4. `encode`: a reply's bytes;
//! 5. `client`: the client's side.
//!
//! A new dialect is one file, one line in `dialects!` below and a row in [`detect`].
//! Nothing here knows sockets, time or the lottery's state.

pub mod detect;
mod message;
mod plain;
mod reader;

pub use message::{
    After, Answer, Batch, Cause, ClientRules, Context, Expecting, Framing, Malformed, Rejection, Reply, Request,
    ServerRules, Speaker, Unrepresentable, Unwelcome, WAITING_NAMED_MAX,
};
pub use reader::Reader;

use crate::lottery::{AgencyId, BatchError, BetSink, BetSource, RawBet};

/// Declares the dialects and routes each call to its file, without a table of function pointers.
macro_rules! dialects {
    ($($(#[$doc:meta])* $variant:ident = $module:ident, $name:literal;)*) => {
        $(pub mod $module;)*

        /// A wire format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Dialect {
            $($(#[$doc])* $variant,)*
        }

        /// The bets of a batch in some dialect's bytes.
        #[derive(Clone, Debug)]
        pub enum Bets<'a> {
            $($(#[$doc])* $variant($module::Bets<'a>),)*
        }

        impl Bets<'_> {
            /// The number of bets in the frame, for the log line of a rejected batch. The bets are counted, because the
            /// declared number can be more than the frame holds. Of a well-formed batch it is what `feed` returns.
            pub fn count(&self) -> u32 {
                match self {
                    $(Bets::$variant(bets) => bets.count(),)*
                }
            }
        }

        impl BetSource for Bets<'_> {
            #[inline]
            fn feed<S: BetSink>(&self, sink: &mut S) -> Result<u32, BatchError> {
                match self {
                    $(Bets::$variant(bets) => bets.feed(sink),)*
                }
            }
        }

        impl Dialect {
            /// Every dialect.
            pub const ALL: &[Dialect] = &[$(Dialect::$variant,)*];

            /// The name in configuration and documents.
            pub fn name(self) -> &'static str {
                match self {
                    $(Dialect::$variant => $name,)*
                }
            }

            /// Where the first frame of `bytes` ends.
            #[inline]
            pub fn frame(self, bytes: &[u8], context: &Context) -> Framing {
                match self {
                    $(Dialect::$variant => $module::frame(bytes, context),)*
                }
            }

            /// The request of a whole frame.
            ///
            /// # Errors
            /// A frame whose fields contradict it.
            #[inline]
            pub fn decode<'a>(self, frame: &'a [u8], context: &Context) -> Result<Request<Bets<'a>>, Malformed> {
                match self {
                    $(Dialect::$variant => Ok($module::decode(frame, context)?.map(Bets::$variant)),)*
                }
            }

            /// Appends a reply's bytes to `out`.
            #[inline]
            pub fn encode(self, reply: &Reply<'_>, out: &mut Vec<u8>) -> After {
                match self {
                    $(Dialect::$variant => $module::encode(reply, out),)*
                }
            }

            /// Behaviour that the dialect needs from the hub, besides replies to its frames.
            #[inline]
            pub fn server_rules(self) -> ServerRules {
                match self {
                    $(Dialect::$variant => $module::SERVER_RULES,)*
                }
            }

            /// Rules for a client of this dialect.
            pub fn client_rules(self) -> ClientRules {
                match self {
                    $(Dialect::$variant => $module::client::RULES,)*
                }
            }

            /// Client: checks that the dialect can carry this bet's text unchanged. [`put_bet`](Self::put_bet) does not
            /// check it. Whether the bet is valid is not checked.
            ///
            /// # Errors
            /// The reason why the dialect cannot carry it.
            pub fn carries(self, bet: &RawBet<'_>) -> Result<(), Unrepresentable> {
                match self {
                    $(Dialect::$variant => $module::client::carries(bet),)*
                }
            }

            /// Client: appends the hello, in dialects that have one.
            pub fn put_hello(self, agency: AgencyId, out: &mut Vec<u8>) {
                match self {
                    $(Dialect::$variant => $module::client::hello(agency, out),)*
                }
            }

            /// Client: appends a bet, the `index`th from 0 of its batch, to a batch's body.
            pub fn put_bet(self, agency: AgencyId, index: u32, bet: &RawBet<'_>, body: &mut Vec<u8>) {
                match self {
                    $(Dialect::$variant => $module::client::bet(agency, index, bet, body),)*
                }
            }

            /// Client: appends the frame of a batch whose `count` bets are in `body`.
            pub fn put_batch(self, agency: AgencyId, sequence: u64, count: u32, body: &[u8], out: &mut Vec<u8>) {
                match self {
                    $(Dialect::$variant => $module::client::batch(agency, sequence, count, body, out),)*
                }
            }

            /// Client: appends "no more bets", in dialects where it is a message of its own.
            pub fn put_finish(self, agency: AgencyId, out: &mut Vec<u8>) {
                match self {
                    $(Dialect::$variant => $module::client::finish(agency, out),)*
                }
            }

            /// Client: appends the query for the winners.
            pub fn put_query(self, agency: AgencyId, out: &mut Vec<u8>) {
                match self {
                    $(Dialect::$variant => $module::client::query(agency, out),)*
                }
            }

            /// Client: reads one reply, and returns its length in bytes and its meaning; `None` while it is incomplete.
            ///
            /// # Errors
            /// Bytes with which no reply starts.
            pub fn read_answer(
                self,
                bytes: &[u8],
                expecting: Expecting,
            ) -> Result<Option<(usize, Answer)>, Malformed> {
                match self {
                    $(Dialect::$variant => $module::client::answer(bytes, expecting),)*
                }
            }
        }
    };
}

dialects! {
    /// A u32 type and a u32 length, fixed-width numbers; replies of one byte.
    Binary = binary, "binary";
    /// One byte of case, then fields with u32 lengths; batches have no reply.
    CaseId = case_id, "case-id";
    /// A decimal length and lines of fields between `|`.
    Text = text, "text";
    /// A u32 length and `KEY:VALUE` pairs.
    KeyValue = key_value, "key-value";
    /// A kind, a u16 length and comma-separated fields; no agency on the wire.
    Csv = csv, "csv";
    /// The project's own: checksums, sequence numbers, batches in flight.
    Native = native, "native";
    /// A line, sent back.
    Echo = echo, "echo";
}

impl Dialect {
    /// The name of a dialect, or `unknown`, as logs and reports have it.
    pub fn name_of(dialect: Option<Dialect>) -> &'static str {
        dialect.map_or("unknown", Dialect::name)
    }

    /// Client: appends, behind a query, the request to be told whom the draw waits for. A hub that does not know it answers
    /// it after the winners, with an error. Says whether the dialect has it.
    pub fn put_watch(self, out: &mut Vec<u8>) -> bool {
        let has_it = self == Dialect::Native;
        if has_it {
            native::client::watch(out);
        }
        has_it
    }

    /// The length of the [`Request::Watch`] with which `bytes` start, if they do; the session reads no further meanwhile.
    pub fn watch_at_start(self, bytes: &[u8]) -> Option<usize> {
        (self == Dialect::Native && native::starts_with_watch(bytes)).then_some(native::WATCH_BYTES)
    }

    /// The dialect with this name.
    pub fn from_name(name: &str) -> Option<Dialect> {
        Dialect::ALL.iter().copied().find(|dialect| dialect.name() == name)
    }
}

impl<B> Request<B> {
    /// The same request with its bets converted.
    #[inline]
    fn map<C>(self, bets: impl FnOnce(B) -> C) -> Request<C> {
        match self {
            Request::Batch(Batch { agency, sequence, bets: inner }) => {
                Request::Batch(Batch { agency, sequence, bets: bets(inner) })
            }
            Request::Hello(agency) => Request::Hello(agency),
            Request::Finish(speaker) => Request::Finish(speaker),
            Request::Query(speaker) => Request::Query(speaker),
            Request::FinishAndQuery(speaker) => Request::FinishAndQuery(speaker),
            Request::EmptyBatch => Request::EmptyBatch,
            Request::BadBatch { count, error } => Request::BadBatch { count, error },
            Request::Refused(malformed) => Request::Refused(malformed),
            Request::Watch => Request::Watch,
            Request::Echo => Request::Echo,
        }
    }
}
