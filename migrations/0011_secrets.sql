-- Values that stand beside the log: secrets, and the credentials of tools. Each is a row of the vault
-- with a data key of its own.

-- Null where the row is a key and nothing else.
alter table vault add column version integer;
alter table vault add column data bytea;

-- What is deleted is not there any more: the row goes, not only what it holds.
grant delete on vault to toolroom_committer;

-- What a rotation of the master key has still to wrap anew.
create index vault_master_key on vault (master_key_id, id) where wrapped_key is not null;

-- Changes of the master key. The newest says by which key everything is wrapped or shall be.
create table master_key_rotations (
    id          bigint generated always as identity primary key,
    to_key      text not null,
    -- Rows to wrap anew when it began.
    total       bigint not null,
    done        bigint not null default 0,
    -- What keeps it from going on, in words for operators.
    problem     text,
    started_at  timestamptz not null default clock_timestamp(),
    finished_at timestamptz
);
-- One at a time.
create unique index master_key_rotations_unfinished on master_key_rotations ((true))
    where finished_at is null;

grant select, insert, update on master_key_rotations to toolroom_committer;

-- After a rotation nothing is wrapped by a key that it has left behind: a node that has not heard of
-- its end is refused, and tries again with the key that counts.
create function refuse_former_master_key() returns trigger language plpgsql as $$
begin
    if new.wrapped_key is not null and exists (
        select from public.master_key_rotations
        where id = (select max(id) from public.master_key_rotations)
          and finished_at is not null and to_key <> new.master_key_id
    ) then
        raise exception 'the master key % was rotated away', new.master_key_id
            using errcode = 'serialization_failure';
    end if;
    return new;
end
$$;
create trigger vault_master_key before insert or update on vault
    for each row execute function refuse_former_master_key();
