-- Which tables each read model has: see `toolroom_projections`. Beside the checkpoints, not among
-- the read models' own tables, so that it is there when they are not.
create table read_models (
    name            text primary key,
    -- Which version of the code made the tables that serve.
    version         integer not null,
    -- Grows with each filling; a table that is being filled bears it in its name.
    generation      bigint not null,
    -- The rebuild that is under way.
    next_version    integer,
    next_generation bigint
);
grant select, insert, update, delete on read_models to toolroom_app;
