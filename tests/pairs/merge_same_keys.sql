-- kinds: merge, table_rename, index, check. Two tables with the same keys become one; a new column says whose a row is.
-- [source]
CREATE TABLE orders_eu (id int PRIMARY KEY, total numeric(10,2) NOT NULL, note text, CHECK (total >= 0));
CREATE INDEX orders_eu_total ON orders_eu (total);
INSERT INTO orders_eu SELECT g, g / 3.0, 'eu ' || g FROM generate_series(1, 50) AS g;
CREATE TABLE orders_us (id int PRIMARY KEY, total numeric(10,2) NOT NULL, note text);
INSERT INTO orders_us SELECT g, g / 7.0, 'us ' || g FROM generate_series(20, 90) AS g;
-- [desired]
-- pcrd: merged_from orders_eu with region = 'eu'
-- pcrd: merged_from orders_us with region = 'us'
CREATE TABLE orders (
    region text NOT NULL,
    id int NOT NULL,
    total numeric(10,2) NOT NULL CHECK (total >= 0),
    note text,
    PRIMARY KEY (region, id)
);
CREATE INDEX orders_total ON orders (total);
-- [by hand]
CREATE TABLE orders AS SELECT 'eu' AS region, * FROM orders_eu UNION ALL SELECT 'us', * FROM orders_us;
