-- kinds: split, rename, fk. The notes of some orders go into a table of their own, which refers to the orders.
-- [source]
CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL, note text);
INSERT INTO orders SELECT g, g * 10, CASE WHEN g % 4 = 0 THEN 'note ' || g END FROM generate_series(1, 40) AS g;
-- [desired]
-- pcrd: drops note
-- pcrd: accept DELETES_DATA reason="in order_notes"
CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL);
-- pcrd: renamed_from orders
-- pcrd: where note IS NOT NULL
-- pcrd: drops total
CREATE TABLE order_notes (
    order_id int PRIMARY KEY REFERENCES orders (id), -- pcrd: renamed_from id
    note text NOT NULL
);
-- [by hand]
CREATE TABLE order_notes AS SELECT id AS order_id, note FROM orders WHERE note IS NOT NULL;
ALTER TABLE orders DROP COLUMN note;
