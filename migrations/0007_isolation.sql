-- Each part of the server works as a role of its own, which may do what that part does and no more;
-- and the role that answers requests sees one workspace at a time, whatever it asks for.
-- None of them may log in: the login role becomes them after it has connected, and inherits what
-- they may see, since row-level security holds for the owner of a table too.
do $$
declare
    modern constant boolean := current_setting('server_version_num')::int >= 160000;
    role text;
begin
    foreach role in array array[
        'toolroom_reader', 'toolroom_committer', 'toolroom_sequencer', 'toolroom_projector',
        'toolroom_queue', 'toolroom_authenticator'
    ] loop
        if not exists (select from pg_roles where rolname = role) then
            begin
                execute format('create role %I nologin', role);
            exception
                -- Roles are the cluster's: another database's migration may have been quicker.
                when duplicate_object or unique_violation then null;
            end;
        end if;
        continue when pg_has_role(role, case when modern then 'set' else 'member' end)
            and (not modern or pg_has_role(role, 'usage'));
        begin
            execute format('grant %I to %I', role, current_user)
                || case when modern then ' with inherit true, set true' else '' end;
        exception
            when unique_violation then null;
        end;
    end loop;
end
$$;

grant usage on schema public to toolroom_reader, toolroom_committer, toolroom_sequencer,
    toolroom_projector, toolroom_queue, toolroom_authenticator;

-- What requests read. Only this role is held to one workspace.
grant select on events, event_log, dead_letters to toolroom_reader;

-- What commands read and write.
grant select, insert on events to toolroom_committer;
grant select on event_log to toolroom_committer;
grant select, insert, delete on claims, command_log to toolroom_committer;
grant select, insert, update on vault, numbers to toolroom_committer;

-- What gives events their places.
grant select on events to toolroom_sequencer;
grant select, insert on event_log to toolroom_sequencer;
grant select, update on sequencer_state to toolroom_sequencer;

-- What follows the log. It keeps the memory of operators' commands in its own transactions.
grant select on events, event_log, sequencer_state to toolroom_projector;
grant select, insert, update, delete on checkpoints, dead_letters, read_models to toolroom_projector;
grant insert on command_log to toolroom_projector;

-- What can be rebuilt belongs to the projector, what is neither primary nor derived to the queue.
alter schema projections owner to toolroom_projector;
alter schema operational owner to toolroom_queue;
grant usage on schema projections to toolroom_reader, toolroom_queue, toolroom_authenticator;
alter table operational.leases owner to toolroom_queue;

-- Lets the reader see of a table the rows of the workspace that its connection is set to, and
-- nothing where it is set to none; the other parts, as far as they are granted the table, see all.
-- To be called for each table that holds a workspace's data, by its owner.
create procedure isolate(target regclass) language plpgsql as $$
declare
    kind constant text := (
        select format_type(atttypid, null) from pg_attribute
        where attrelid = target and attname = 'workspace_id' and not attisdropped
    );
    -- The setting has the form `ws_` and 32 hexadecimal digits. A plain comparison with what is
    -- constant within a statement, so that it is a condition of every index on the column.
    of_setting constant text := case kind
        when 'text' then $q$current_setting('toolroom.workspace', true)$q$
        when 'uuid' then $q$nullif(substr(current_setting('toolroom.workspace', true), 4), '')::uuid$q$
    end;
begin
    if of_setting is null then
        raise exception '% cannot be isolated: it has no column workspace_id of type text or uuid', target
            using errcode = 'invalid_table_definition';
    end if;
    execute format('alter table %s enable row level security, force row level security', target);
    execute format(
        'create policy one_workspace on %s for select to toolroom_reader using (workspace_id = %s)',
        target, of_setting);
    execute format(
        'create policy all_workspaces on %s
             to toolroom_committer, toolroom_sequencer, toolroom_projector, toolroom_queue,
                toolroom_authenticator
             using (true) with check (true)',
        target);
end
$$;

call isolate('events');
call isolate('event_log');
call isolate('command_log');
call isolate('claims');
call isolate('vault');
call isolate('numbers');
call isolate('dead_letters');

-- The read models that are there already. Later ones are isolated by whoever creates them.
do $$
declare
    made regclass;
begin
    for made in
        select c.oid from pg_class c
        where c.relnamespace = 'projections'::regnamespace and c.relkind = 'r'
    loop
        call isolate(made);
        execute format('grant select on %s to toolroom_reader', made);
        if made::text ~ '^(projections\.)?queue(__g\d+)?$' then
            execute format('grant select, update on %s to toolroom_queue', made);
        end if;
        execute format('alter table %s owner to toolroom_projector', made);
    end loop;
end
$$;

-- The links of the chain before some positions, whosever they are: to prove an event is to show
-- the hash before its own. A digest tells nothing of what it is the digest of.
-- In PL/pgSQL, which keeps its plans: planning them anew would cost more than the look-ups.
create function hashes_before(positions bigint[]) returns table ("position" bigint, hash bytea)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp rows 50 as $$
begin
    return query
        select wanted, l.hash
        from unnest(positions) as wanted
        join public.event_log l on l.position = wanted - 1;
end
$$;

-- The last position before a moment: 0 before the first. Asked of one workspace's events alone, it
-- would be searched for among all others'.
create function position_before(moment timestamptz) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return coalesce(
        (select l.position from public.event_log l where l.time < moment
         order by l.time desc, l.position desc limit 1),
        0);
end
$$;

revoke execute on function hashes_before, position_before from public;
grant execute on function hashes_before, position_before to toolroom_reader;

-- The one role that did all of this is of no use in this database any more. It stays: other
-- databases of the cluster may use it.
revoke all on all tables in schema public, projections, operational from toolroom_app;
revoke all on schema public, projections, operational from toolroom_app;
