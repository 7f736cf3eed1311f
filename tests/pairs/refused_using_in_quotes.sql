-- kinds: using. Quotes around an expression make it the name of a column.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, price numeric(10,2) NOT NULL);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, price numeric(10,2) NOT NULL,
    cents bigint NOT NULL -- pcrd: using "(price * 100)::bigint"
);
-- [refused]
-- public.t has no column "(price * 100)::bigint"
