//! Plain records: the documents of the database as this service reads and writes them. No I/O.
//!
//! Other services write some of them too, so reading is lenient ([`lenient`]) and fields without a name here are kept.

pub mod api_token;
pub mod audit;
pub mod ban;
pub mod bounds;
pub mod buy_link;
pub mod chat_run;
pub mod collection;
pub mod containers;
pub mod conversation;
pub mod dead_letter;
pub mod digest;
pub mod draft;
pub mod exchange_rates;
pub mod garment;
pub mod ids;
pub mod insights;
pub mod item;
pub mod job;
pub mod lease;
pub mod lenient;
pub mod mood;
pub mod mood_intake;
pub mod numbers;
pub mod prices;
pub mod profile;
pub mod quiz;
pub mod schedule;
pub mod session;
pub mod source;
pub mod styling;
pub mod subscription;
pub mod taste_job;
pub mod thesaurus;
pub mod timer;
pub mod timestamp;
pub mod tool_results;
pub mod usage;
pub mod vocabulary;
pub mod vote;
pub mod wardrobe;
