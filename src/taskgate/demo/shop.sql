-- The demo's shop: people and cards that exist nowhere, the same ones each time.
-- {customers}, {orders} and the like are row counts, filled in by seed.py.

BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL timezone = 'UTC';
SET LOCAL synchronous_commit = off;

CREATE SCHEMA shop;
COMMENT ON SCHEMA shop IS 'The online shop';

-- A number in [0, below) that depends on nothing but its arguments.
CREATE FUNCTION pg_temp.pick(salt text, i integer, below integer) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
  SELECT (('x' || substr(md5(salt || i), 1, 7))::bit(28)::integer) % below
$$;

CREATE FUNCTION pg_temp.one_of(salt text, i integer, choices text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT choices[1 + (('x' || substr(md5(salt || i), 1, 7))::bit(28)::integer)
                     % array_length(choices, 1)]
$$;

-- Appends the check digit of ISO/IEC 7812-1 annex B to fifteen digits.
CREATE FUNCTION pg_temp.with_luhn(digits text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  total integer := 0;
  d integer;
BEGIN
  FOR k IN 1..length(digits) LOOP
    d := ascii(substr(digits, length(digits) - k + 1, 1)) - 48;
    IF k % 2 = 1 THEN
      d := d * 2;
      IF d > 9 THEN d := d - 9; END IF;
    END IF;
    total := total + d;
  END LOOP;
  RETURN digits || ((10 - total % 10) % 10)::text;
END
$$;

-- A German IBAN with its check digits (ISO 13616: D = 13, E = 14, mod 97).
CREATE FUNCTION pg_temp.iban(account text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT 'DE' || lpad((98 - (account || '131400')::numeric % 97)::text, 2, '0') || account
$$;

CREATE TABLE shop.customers (
  id integer PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL UNIQUE,
  phone text NOT NULL,
  card_number text NOT NULL,
  national_id text NOT NULL,
  region text NOT NULL,
  created_at timestamptz NOT NULL,
  notes text NOT NULL DEFAULT ''
);

INSERT INTO shop.customers
WITH person AS (
  SELECT i,
    pg_temp.one_of('first', i, ARRAY[
      'Ada', 'Aisha', 'Alexei', 'Amara', 'Anna', 'Antonio', 'Aylin', 'Beatriz', 'Bo', 'Carlos',
      'Chen', 'Chiara', 'Daniel', 'Deniz', 'Elena', 'Emeka', 'Emma', 'Farid', 'Fatima', 'Felix',
      'Freya', 'Gabriel', 'Grace', 'Hana', 'Hugo', 'Ines', 'Ivan', 'Jamal', 'Jana', 'Jorge',
      'Kaito', 'Katya', 'Kofi', 'Lars', 'Leila', 'Liam', 'Lucia', 'Magnus', 'Marta', 'Mei',
      'Mia', 'Nadia', 'Noah', 'Olga', 'Omar', 'Paula', 'Pavel', 'Priya', 'Rosa', 'Samir',
      'Sara', 'Sofia', 'Tariq', 'Tomas', 'Uma', 'Viktor', 'Wanda', 'Yara', 'Yusuf', 'Zoe']) AS f,
    pg_temp.one_of('last', i, ARRAY[
      'Abebe', 'Ahmed', 'Almeida', 'Andersen', 'Bauer', 'Becker', 'Bianchi', 'Brown', 'Castillo',
      'Chen', 'Costa', 'Diallo', 'Dubois', 'Eriksen', 'Fischer', 'Garcia', 'Gupta', 'Haddad',
      'Hansen', 'Hernandez', 'Ibrahim', 'Ivanova', 'Jensen', 'Johnson', 'Kaya', 'Khan', 'Kim',
      'Kowalska', 'Larsen', 'Lee', 'Lopez', 'Martin', 'Mensah', 'Moreau', 'Nakamura', 'Nguyen',
      'Novak', 'Nowak', 'Okafor', 'Oliveira', 'Patel', 'Pereira', 'Petrov', 'Popescu', 'Rossi',
      'Sato', 'Schmidt', 'Silva', 'Singh', 'Smith', 'Svensson', 'Tanaka', 'Torres', 'Wang',
      'Weber', 'Williams', 'Yilmaz', 'Zhang']) AS l,
    pg_temp.with_luhn('4000' || lpad(pg_temp.pick('card', i, 100000000)::text, 8, '0')
                      || lpad((i % 1000)::text, 3, '0')) AS card
  FROM generate_series(1, {customers}) AS i
)
SELECT i,
  f || ' ' || l,
  lower(f || '.' || l) || i || '@'
    || pg_temp.one_of('host', i, ARRAY['example.com', 'example.org', 'mail.example', 'post.example']),
  '+1 ' || (200 + pg_temp.pick('area', i, 700)) || ' 555 ' || lpad(pg_temp.pick('line', i, 10000)::text, 4, '0'),
  card,
  -- Areas 000, 666 and 9xx, group 00 and serial 0000 are never issued.
  lpad((1 + pg_temp.pick('ssn-area', i, 665))::text, 3, '0') || '-'
    || lpad((1 + pg_temp.pick('ssn-group', i, 99))::text, 2, '0') || '-'
    || lpad((1 + pg_temp.pick('ssn-serial', i, 9999))::text, 4, '0'),
  pg_temp.one_of('region', i, ARRAY['North', 'North', 'South', 'East', 'East', 'East', 'West']),
  timestamptz '2022-01-01 08:00+00' + pg_temp.pick('since', i, 1500) * interval '1 day'
    + pg_temp.pick('at', i, 36000) * interval '1 second',
  CASE
    WHEN i % 40 = 7 THEN 'Asked us to charge ' || card || ' from now on.'
    WHEN i % 40 = 19 THEN 'Second address: ' || lower(l) || '.' || i || '@work.example, prefers it in the evening.'
    WHEN i % 40 = 31 THEN 'Called from +1 ' || (200 + pg_temp.pick('area2', i, 700)) || ' 555 0'
      || lpad(pg_temp.pick('line2', i, 1000)::text, 3, '0') || ' about a late parcel.'
    WHEN i % 5 = 0 THEN pg_temp.one_of('note', i, ARRAY[
      'Prefers delivery on Saturdays.', 'Wants paper invoices.', 'Returned a pair of boots in March.',
      'Long-standing customer, be generous.', 'Leave parcels with the neighbour.'])
    ELSE ''
  END
FROM person;

CREATE TABLE shop.products (
  id integer PRIMARY KEY,
  name text NOT NULL,
  category text NOT NULL,
  price numeric(10, 2) NOT NULL CHECK (price > 0)
);

INSERT INTO shop.products
SELECT i,
  pg_temp.one_of('adjective', i, ARRAY['Light', 'Warm', 'Classic', 'Folding', 'Trail', 'City', 'Winter', 'Summer'])
    || ' ' || pg_temp.one_of('thing', i, ARRAY['jacket', 'boots', 'backpack', 'tent', 'lamp', 'bottle', 'gloves', 'mat'])
    || ' ' || i,
  pg_temp.one_of('thing', i, ARRAY['clothing', 'footwear', 'bags', 'camping', 'camping', 'kitchen', 'clothing', 'camping']),
  5 + pg_temp.pick('price', i, 29500) / 100.0
FROM generate_series(1, {products}) AS i;

CREATE TABLE shop.orders (
  id integer PRIMARY KEY,
  customer_id integer NOT NULL REFERENCES shop.customers,
  region text NOT NULL,
  status text NOT NULL CHECK (status IN ('new', 'paid', 'shipped', 'returned', 'cancelled')),
  amount numeric(12, 2) NOT NULL,
  placed_at timestamptz NOT NULL
);

CREATE TABLE shop.order_items (
  order_id integer NOT NULL,
  line integer NOT NULL,
  product_id integer NOT NULL REFERENCES shop.products,
  quantity integer NOT NULL CHECK (quantity > 0),
  unit_price numeric(10, 2) NOT NULL,
  PRIMARY KEY (order_id, line)
);

INSERT INTO shop.order_items
SELECT o, line, p.id, 1 + pg_temp.pick('quantity' || line, o, 4), p.price
FROM generate_series(1, {orders}) AS o
CROSS JOIN generate_series(1, 2) AS line
JOIN shop.products AS p ON p.id = 1 + pg_temp.pick('product' || line, o, {products});

INSERT INTO shop.orders
SELECT i.order_id, c.id, c.region,
  pg_temp.one_of('status', i.order_id, ARRAY['new', 'paid', 'shipped', 'shipped', 'shipped', 'shipped', 'returned', 'cancelled']),
  i.amount,
  timestamptz '2025-11-01 00:00+00' + (i.order_id * (365.0 * 86400 / {orders})) * interval '1 second'
FROM (SELECT order_id, sum(quantity * unit_price) AS amount FROM shop.order_items GROUP BY order_id) AS i
JOIN shop.customers AS c ON c.id = 1 + pg_temp.pick('buyer', i.order_id, {customers});

ALTER TABLE shop.order_items ADD FOREIGN KEY (order_id) REFERENCES shop.orders;
CREATE INDEX orders_customer ON shop.orders (customer_id);
CREATE INDEX orders_placed ON shop.orders (placed_at);

CREATE TABLE shop.staff (
  id integer PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL,
  role text NOT NULL,
  salary numeric(10, 2) NOT NULL,
  iban text NOT NULL
);

INSERT INTO shop.staff
SELECT i,
  pg_temp.one_of('staff-first', i, ARRAY['Ruth', 'Ian', 'Nora', 'Ben', 'Aiko', 'Dara', 'Milo', 'Tess', 'Abel', 'Ivy'])
    || ' ' || pg_temp.one_of('staff-last', i, ARRAY['Hart', 'Lind', 'Osei', 'Ferro', 'Quist', 'Vale', 'Brandt', 'Moss']),
  'staff' || i || '@shop.example',
  pg_temp.one_of('role', i, ARRAY['warehouse', 'warehouse', 'support', 'support', 'buyer', 'engineer', 'accounts']),
  31000 + pg_temp.pick('salary', i, 64000),
  pg_temp.iban('50010517' || lpad(pg_temp.pick('account', i, 100000000)::text, 10, '0'))
FROM generate_series(1, {staff}) AS i;

CREATE TABLE shop.audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  detail jsonb NOT NULL
);

INSERT INTO shop.audit_log (at, actor, action, detail)
SELECT timestamptz '2025-11-01 00:00+00' + i * interval '97 minutes',
  'staff' || (1 + pg_temp.pick('actor', i, {staff})) || '@shop.example',
  pg_temp.one_of('action', i, ARRAY['login', 'order.ship', 'order.refund', 'customer.view', 'price.change']),
  jsonb_build_object(
    'from', '203.0.113.' || (1 + pg_temp.pick('ip', i, 254)),
    'order', 1 + pg_temp.pick('logged-order', i, {orders}))
FROM generate_series(1, {audit_rows}) AS i;

CREATE VIEW shop.customer_contacts AS
  SELECT id, name, email, phone FROM shop.customers;

CREATE VIEW shop.revenue_by_region AS
  SELECT region, date_trunc('week', placed_at) AS week, count(*) AS orders, sum(amount) AS revenue
  FROM shop.orders
  WHERE status IN ('paid', 'shipped')
  GROUP BY region, date_trunc('week', placed_at);

CREATE FUNCTION shop.customer_total(customer integer) RETURNS numeric
LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(amount), 0) FROM shop.orders
  WHERE customer_id = customer AND status IN ('paid', 'shipped')
$$;

COMMENT ON TABLE shop.customers IS 'People who bought something; nearly every column is personal';
COMMENT ON COLUMN shop.customers.notes IS 'Free text by support; may hold anything';
COMMENT ON TABLE shop.staff IS 'People who work here';

DROP FUNCTION pg_temp.iban(text);
DROP FUNCTION pg_temp.with_luhn(text);
DROP FUNCTION pg_temp.one_of(text, integer, text[]);
DROP FUNCTION pg_temp.pick(text, integer, integer);
COMMIT;
