-- kinds: table_rename, names. A table is renamed; key and constraint keep their names because the file names none.
-- [source]
CREATE TABLE client (id int PRIMARY KEY, email text UNIQUE);
INSERT INTO client SELECT n, 'c' || n FROM generate_series(1, 10) AS n;
INSERT INTO client VALUES (11, NULL), (12, NULL), (13, '');
-- [desired]
-- pcrd: renamed_from client
CREATE TABLE customer (id int PRIMARY KEY, email text UNIQUE);
-- [direct]
CREATE TABLE customer (
  id int CONSTRAINT client_pkey PRIMARY KEY,
  email text CONSTRAINT client_email_key UNIQUE
);
-- [by hand]
ALTER TABLE client RENAME TO customer;
