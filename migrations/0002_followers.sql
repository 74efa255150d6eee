-- How far each follower of the log has come, and who may move it.
create table checkpoints (
    follower    text primary key,
    position    bigint not null,
    -- Grows with each change of holder: a holder that was presumed dead can no longer write.
    lease_epoch bigint not null default 0,
    holder      text,
    lease_until timestamptz,
    updated_at  timestamptz not null default clock_timestamp()
);

-- Events that a follower cannot apply, and those held back behind them, in order.
create table dead_letters (
    id             bigint generated always as identity primary key,
    follower       text not null,
    position       bigint not null,
    aggregate_type text not null,
    aggregate_id   text not null,
    workspace_id   text not null,
    -- Null for an event that is merely held back behind a poisonous one.
    error          text,
    attempts       integer not null default 0,
    at             timestamptz not null default clock_timestamp(),
    unique (follower, position)
);
create index dead_letters_aggregate on dead_letters (follower, aggregate_type, aggregate_id, position);
