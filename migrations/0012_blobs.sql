-- Values too large for the log, sealed: primary data. The event that holds one tells its name alone,
-- and both are written in one transaction.
create table blobs (
    workspace_id text not null,
    -- A keyed SHA-256 of the value, in hexadecimal digits: equal values of a workspace share a row.
    sha256       text not null,
    -- The row of `vault` whose key it is sealed with.
    key          bigint not null,
    -- Nonce, ciphertext, tag.
    data         bytea not null,
    primary key (workspace_id, sha256)
);
-- What is encrypted does not compress; not to try saves the time.
alter table blobs alter column data set storage external;
call isolate('blobs');

grant select, insert, delete on blobs to toolroom_committer;

-- An erasure takes with it what stands beside the log.
grant delete on numbers, key_hashes to toolroom_committer;
grant delete on sessions to toolroom_committer;
grant select (workspace_id) on sessions to toolroom_committer;
-- Whoever keeps the read models leaves out of them what is of an erased workspace.
grant select (workspace_id, kind, erased_at) on vault to toolroom_projector;
grant usage on schema operational to toolroom_committer;
grant delete, select (workspace_id) on operational.buckets, operational.quotas to toolroom_committer;
