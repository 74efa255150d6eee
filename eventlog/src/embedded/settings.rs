//! The server settings that an embedded cluster runs with, given on the command line so that they
//! win over whatever `postgresql.conf` or `alter system` say.

/// Settings for one small machine, of two cores and up, that serves one toolroom.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    // Reached through a private socket folder only.
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    // What is acknowledged is on disk.
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    // A few pools of about ten connections each, command-line tools beside them, room to spare.
    ("max_connections", "100"),
    // Holds the hot ends of log and read models; taken page by page, so an idle server is small.
    ("shared_buffers", "192MB"),
    // Nothing replicates from an embedded server: backups are logical dumps. An idle server then
    // writes nothing at all. Whoever wants a standby runs a server of their own.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    // Full page images after a checkpoint are most of the log's bytes; rarer checkpoints and
    // compression both make them fewer. 2 GB bounds the disk space and the replay after a crash.
    ("wal_compression", "on"),
    ("checkpoint_timeout", "15min"),
    ("max_wal_size", "2GB"),
    // Segments kept for reuse: creating one costs a commit some milliseconds.
    ("min_wal_size", "256MB"),
    // Statements are small and many: compiling them, or spreading them over workers that the
    // cores do not have, costs more than it saves. (Workers would also need /dev/shm, which
    // containers keep small.)
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    // A new log's tables are planned for without statistics until they are first analysed.
    ("autovacuum_naptime", "15s"),
    // Solid state disks, or data that fits into memory.
    ("random_page_cost", "1.1"),
    // The same answers on every machine.
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("lc_messages", "C"),
    // The server's log tells starts, stops, crashes and why it refuses to start. Statements and
    // their errors go to the client: they may carry users' data, and a conflict that is retried
    // is no news.
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_min_messages", "log"),
    ("log_min_error_statement", "panic"),
    ("log_statement", "none"),
    ("log_checkpoints", "off"),
    ("log_autovacuum_min_duration", "-1"),
    ("log_line_prefix", "%m [%p] "),
    ("cluster_name", "toolroom"),
];
