-- kinds: collation, array, domain, add. Collations of arrays and of a domain's column.
-- [source]
CREATE DOMAIN word AS text CHECK (VALUE <> 'bad');
CREATE TABLE t (id int PRIMARY KEY, a text[], b word);
INSERT INTO t VALUES (1, '{b,a}', 'w'), (2, NULL, NULL), (3, '{}', '');
-- [desired]
CREATE DOMAIN word AS text CHECK (VALUE <> 'bad');
CREATE TABLE t (id int PRIMARY KEY, a text[] COLLATE "C", b word COLLATE "POSIX", c word DEFAULT 'new');
-- [by hand]
ALTER TABLE t ADD c word DEFAULT 'new';
