-- kinds: table_rename. The same table in the config and in the SQL file, with both places.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [config]
  tables: [{ name: t, columns: { a: { type: varchar(10) } } }]
-- [refused]
-- described in both files: public.t
-- pcrd.config.yml
-- desired.sql
