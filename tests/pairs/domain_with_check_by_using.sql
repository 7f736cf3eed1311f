-- kinds: domain, using, not_null. Text goes into a domain with demands by an expression.
-- [source]
CREATE DOMAIN mail AS text CHECK (VALUE ~ '@' AND VALUE = lower(VALUE));
CREATE TABLE t (id int PRIMARY KEY, mail text);
INSERT INTO t VALUES (1, 'A@B.C'), (2, NULL), (3, '');
-- [desired]
CREATE DOMAIN mail AS text CHECK (VALUE ~ '@' AND VALUE = lower(VALUE));
CREATE TABLE t (
  id int PRIMARY KEY,
  mail mail NOT NULL -- pcrd: using coalesce(nullif(lower(mail), ''), 'nobody@localhost')
);
-- [by hand]
ALTER TABLE t ALTER mail TYPE mail USING coalesce(nullif(lower(mail), ''), 'nobody@localhost');
