-- kinds: split, drop, table_rename. Open and closed orders part; each row has a place, because one filter is the other's opposite.
-- [source]
CREATE TABLE orders (id bigint PRIMARY KEY, total numeric(10,2) NOT NULL, closed_at date, CHECK (total >= 0));
CREATE INDEX orders_total ON orders (total);
INSERT INTO orders SELECT g, g / 3.0, CASE WHEN g % 3 = 0 THEN date '2024-01-01' + g END FROM generate_series(1, 60) AS g;
-- [desired]
-- pcrd: renamed_from orders
-- pcrd: where closed_at IS NULL
-- pcrd: drops closed_at
-- pcrd: accept DELETES_DATA reason="NULL in every row"
CREATE TABLE open_orders (id bigint PRIMARY KEY, total numeric(10,2) NOT NULL, CHECK (total >= 0));
CREATE INDEX open_orders_total ON open_orders (total);
-- pcrd: renamed_from orders
-- pcrd: where (closed_at IS NULL) IS NOT TRUE
CREATE TABLE closed_orders (id bigint PRIMARY KEY, total numeric(10,2) NOT NULL, closed_at date NOT NULL, CHECK (total >= 0));
-- [direct]
CREATE TABLE open_orders (id bigint PRIMARY KEY, total numeric(10,2) NOT NULL, CONSTRAINT orders_total_check CHECK (total >= 0));
CREATE INDEX open_orders_total ON open_orders (total);
CREATE TABLE closed_orders (id bigint PRIMARY KEY, total numeric(10,2) NOT NULL, closed_at date NOT NULL, CONSTRAINT orders_total_check CHECK (total >= 0));
-- [by hand]
CREATE TABLE open_orders AS SELECT id, total FROM orders WHERE closed_at IS NULL;
CREATE TABLE closed_orders AS SELECT id, total, closed_at FROM orders WHERE closed_at IS NOT NULL;
