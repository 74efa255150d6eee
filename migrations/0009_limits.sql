-- What plans limit, as all nodes share it. Operational: no rebuild touches it, and what a backup
-- leaves out of it is begun anew, quotas from the log's own count.

-- Tokens for requests. Unlogged: after a crash all buckets are full, which is no harm.
create unlogged table operational.buckets (
    workspace_id text not null,
    -- A key's id; empty for the bucket of all the workspace's callers together.
    key          text not null,
    tokens       double precision not null,
    -- When the tokens were as many; what has flowed in since comes on top.
    refilled_at  timestamptz not null,
    -- What the last to ask was given.
    granted      integer not null,
    primary key (workspace_id, key)
) with (fillfactor = 50);
call isolate('operational.buckets');

-- Runs that were granted to nodes in the hour and the day that have begun, UTC.
create table operational.quotas (
    workspace_id text primary key,
    hour         timestamptz not null,
    hour_used    bigint not null,
    day          timestamptz not null,
    day_used     bigint not null,
    -- What the last to ask was given.
    granted      integer not null
) with (fillfactor = 50);
call isolate('operational.quotas');

-- Whoever finds out who asks finds out whether they ask too much.
grant usage on schema operational to toolroom_authenticator;
grant select, insert, update, delete on operational.buckets to toolroom_authenticator;
grant select, insert, update on operational.quotas to toolroom_authenticator;
