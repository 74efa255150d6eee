//! Each connector against a stand-in of its vendor, which checks what the vendor checks.

mod discord;
mod google;
mod http;
mod notion;
mod receiver;
mod slack;
mod stand_in;
mod stories;
mod teams;
mod trello;
mod twilio;
mod world;
