// Makes the database that the command line names.
import pg from "pg";

const { PGHOST, PGUSER } = process.env;
const client = new pg.Client({ host: PGHOST, user: PGUSER, database: "postgres" });
await client.connect();
await client.query(`create database ${client.escapeIdentifier(process.argv[2])}`);
await client.end();
