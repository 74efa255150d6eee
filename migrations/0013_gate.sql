-- What all nodes know of whether a tool may be called now. Operational: lost, every circuit is closed
-- and no call was made of late. A tool whose calls succeed, and whose type has no rate, has no row.
create sequence operational.gate_versions;
alter sequence operational.gate_versions owner to toolroom_queue;

create table operational.gates (
    tool_id        text primary key,
    workspace_id   text not null,
    -- The breaker's state, as `worker/src/gate/circuit.rs` writes it.
    circuit        jsonb not null default '{}',
    -- When calls left, and what the other side announced: `worker/src/gate/pace.rs`.
    pace           jsonb not null default '{}',
    -- Until when nodes are to look at it of themselves.
    troubled_until timestamptz not null default '-infinity',
    -- Whether the tool's aggregate has been told of the circuit's last change.
    told           boolean not null default true,
    changed_at     timestamptz not null default clock_timestamp(),
    -- Grows with each change, of a row that was removed and is made anew too.
    version        bigint not null default nextval('operational.gate_versions')
) with (fillfactor = 50);
create index gates_troubled on operational.gates (troubled_until);
call isolate('operational.gates');
alter table operational.gates owner to toolroom_queue;
-- Erasing a workspace forgets them.
grant select, delete on operational.gates to toolroom_committer;
