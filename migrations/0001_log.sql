-- The log and what stands beside it: primary data, none of which can be derived.

-- Events as postgres-es knows them (the first seven columns), and what we add.
-- `json`, not `jsonb`: the text is kept as written, so its digest never depends on a server's version.
create table events (
    aggregate_type text not null,
    aggregate_id   text not null,
    sequence       bigint not null check (sequence > 0),
    event_type     text not null,
    event_version  text not null,
    payload        json not null,
    metadata       json not null,
    global_seq     bigint generated always as identity,
    tx_id          xid8 not null default pg_current_xact_id(),
    recorded_at    timestamptz not null default clock_timestamp(),
    workspace_id   text not null generated always as (metadata ->> 'workspace_id') stored,
    command_id     text generated always as (metadata ->> 'command_id') stored,
    correlation_id text generated always as (metadata ->> 'correlation_id') stored,
    causation_id   text generated always as (metadata ->> 'causation_id') stored,
    actor          text generated always as (metadata ->> 'actor') stored,
    primary key (aggregate_type, aggregate_id, sequence)
);

-- The order in which the sequencer walks. Never by tx_id or global_seq alone: transactions commit
-- out of order, and one transaction writes many events.
create unique index events_order on events (tx_id, global_seq);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % is not allowed', tg_table_name, tg_op
        using errcode = 'insufficient_privilege';
end
$$;

create trigger events_append_only before update or delete on events
    for each row execute function refuse_change();
create trigger events_no_truncate before truncate on events
    for each statement execute function refuse_change();

-- The one order of all events, and the chain that makes it tamper-evident.
create table event_log (
    position       bigint primary key,
    global_seq     bigint not null unique,
    workspace_id   text not null,
    aggregate_type text not null,
    aggregate_id   text not null,
    sequence       bigint not null,
    time           timestamptz not null,
    hash           bytea not null
);
create index event_log_time on event_log (time, position);

create trigger event_log_append_only before update or delete on event_log
    for each row execute function refuse_change();
create trigger event_log_no_truncate before truncate on event_log
    for each statement execute function refuse_change();

-- Where the sequencer stands: one row, whose lock is the fence between nodes.
create table sequencer_state (
    id                boolean primary key default true check (id),
    -- Grows when a recovery may have lost the tail, so that old positions are known as such.
    log_epoch         integer not null default 0,
    -- The cluster whose transaction ids `cursor_tx` counts.
    system_identifier bigint not null,
    cursor_tx         xid8 not null,
    cursor_seq        bigint not null,
    -- Events up to here came from another cluster: their tx_id means nothing here.
    floor_seq         bigint not null,
    position          bigint not null,
    time              timestamptz not null,
    hash              bytea not null
);
insert into sequencer_state
    (system_identifier, cursor_tx, cursor_seq, floor_seq, position, time, hash)
select system_identifier, '0', 0, 0, 0, '-infinity', sha256('toolroom')
from pg_control_system();

-- What of an event the chain covers: its stored text, before any upcasting. The unit separator
-- cannot occur in JSON text nor in our names, so no two events have the same text.
create function event_digest(e events) returns bytea language sql stable parallel safe as $$
    select sha256(convert_to(concat_ws(e'\x1f',
        e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
        e.global_seq, (extract(epoch from e.recorded_at) * 1000000)::bigint,
        e.payload::text, e.metadata::text), 'UTF8'))
$$;

create function chain_step(state bytea, previous bytea, "position" bigint, digest bytea)
returns bytea language sql immutable parallel safe as $$
    select sha256(coalesce(state, previous) || int8send("position") || digest)
$$;

-- hash(n) = sha256(hash(n-1) || position(n) as 8 bytes big-endian || digest(n)); run as a window
-- function in position order, `previous` being the hash before the window's first row.
create aggregate chain_hash(previous bytea, "position" bigint, digest bytea) (
    sfunc = chain_step,
    stype = bytea
);

-- The first outcome of each command that a client named, so that repeating it changes nothing.
create table command_log (
    workspace_id   text not null,
    actor          text not null,
    command_id     text not null,
    -- HMAC of the request under a server key: a plain hash of a secret could be guessed.
    digest         bytea not null,
    aggregate_type text not null,
    aggregate_id   text not null,
    -- Where its last event is; null for a command that changed nothing.
    global_seq     bigint,
    recorded_at    timestamptz not null default clock_timestamp(),
    primary key (workspace_id, actor, command_id)
);
create index command_log_recorded_at on command_log using brin (recorded_at);

-- Names that are taken. Rows follow from events and change in the transaction that appends them.
create table claims (
    workspace_id text not null,
    scope        text not null,
    key          text not null,
    aggregate_id text not null,
    primary key (workspace_id, scope, key)
);

-- Keys and secrets, encrypted. `wrapped_key` is a data key encrypted with the master key;
-- destroying it erases for good what it encrypts.
create table vault (
    id            bigint generated always as identity primary key,
    workspace_id  text not null,
    kind          text not null,
    name          text not null,
    wrapped_key   bytea,
    master_key_id text not null,
    created_at    timestamptz not null default clock_timestamp(),
    erased_at     timestamptz,
    unique (workspace_id, kind, name)
);

-- Integer ids, drawn once and recorded in the event that uses them.
create table numbers (
    workspace_id text not null,
    kind         text not null,
    last         integer not null,
    primary key (workspace_id, kind)
);
