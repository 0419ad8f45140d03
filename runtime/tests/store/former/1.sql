--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: updraft; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA updraft;


--
-- Name: SCHEMA updraft; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA updraft IS 'The rows of an Updraft cloud: read them in the view readable.';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: commits; Type: TABLE; Schema: updraft; Owner: -
--

CREATE TABLE updraft.commits (
    sequence bigint NOT NULL,
    id uuid NOT NULL,
    bytes bigint NOT NULL,
    keys text[] NOT NULL,
    versions bigint[] NOT NULL,
    row_values bytea[] NOT NULL,
    logs text[] NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
ALTER TABLE ONLY updraft.commits ALTER COLUMN row_values SET STORAGE EXTERNAL;


--
-- Name: TABLE commits; Type: COMMENT; Schema: updraft; Owner: -
--

COMMENT ON TABLE updraft.commits IS 'The latest commits, for the processes that follow.';


--
-- Name: logs; Type: TABLE; Schema: updraft; Owner: -
--

CREATE TABLE updraft.logs (
    log text NOT NULL COLLATE pg_catalog."C",
    sequence bigint NOT NULL,
    value bytea NOT NULL
);


--
-- Name: TABLE logs; Type: COMMENT; Schema: updraft; Owner: -
--

COMMENT ON TABLE updraft.logs IS 'Ordered logs.';


--
-- Name: meta; Type: TABLE; Schema: updraft; Owner: -
--

CREATE TABLE updraft.meta (
    one boolean DEFAULT true NOT NULL,
    format bigint NOT NULL,
    CONSTRAINT meta_one_check CHECK (one)
);


--
-- Name: TABLE meta; Type: COMMENT; Schema: updraft; Owner: -
--

COMMENT ON TABLE updraft.meta IS 'Its one row is locked by whoever commits.';


--
-- Name: rows; Type: TABLE; Schema: updraft; Owner: -
--

CREATE TABLE updraft.rows (
    key text NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    value bytea NOT NULL
)
WITH (fillfactor='80');


--
-- Name: TABLE rows; Type: COMMENT; Schema: updraft; Owner: -
--

COMMENT ON TABLE updraft.rows IS 'Every row, and the commit that wrote it last.';


--
-- Name: readable; Type: VIEW; Schema: updraft; Owner: -
--

CREATE VIEW updraft.readable AS
 SELECT rows.key,
    rows.version,
    convert_from(rows.value, 'UTF8'::name) AS value
   FROM updraft.rows;


--
-- Data for Name: commits; Type: TABLE DATA; Schema: updraft; Owner: -
--

INSERT INTO updraft.commits VALUES
	(0, '4b08f8e3-c219-4177-ace3-7387a8ae9ada', 0, '{}', '{}', '{}', '{}'),
	(1, '04b787d1-3b96-4430-abea-c36fb356c8d5', 4022, '{shop/guest/g000,shop/guest/g001,shop/guest/g002,shop/guest/g003,shop/guest/g004,shop/guest/g005,shop/guest/g006,shop/guest/g007,shop/guest/g008,shop/guest/g009,shop/guest/g010,shop/guest/g011,shop/guest/g012,shop/guest/g013,shop/guest/g014,shop/guest/g015,shop/guest/g016,shop/guest/g017,shop/guest/g018,shop/guest/g019,shop/guest/g020,shop/guest/g021,shop/guest/g022,shop/guest/g023,shop/guest/g024,shop/guest/g025,shop/guest/g026,shop/guest/g027,shop/guest/g028,shop/guest/g029,shop/guest/g030,shop/guest/g031,shop/guest/g032,shop/guest/g033,shop/guest/g034,shop/guest/g035,shop/guest/g036,shop/guest/g037,shop/guest/g038,shop/guest/g039,shop/guest~name/n000/g000,shop/guest~name/n001/g001,shop/guest~name/n002/g002,shop/guest~name/n003/g003,shop/guest~name/n004/g004,shop/guest~name/n005/g005,shop/guest~name/n006/g006,shop/guest~name/n007/g007,shop/guest~name/n008/g008,shop/guest~name/n009/g009,shop/guest~name/n010/g010,shop/guest~name/n011/g011,shop/guest~name/n012/g012,shop/guest~name/n013/g013,shop/guest~name/n014/g014,shop/guest~name/n015/g015,shop/guest~name/n016/g016,shop/guest~name/n017/g017,shop/guest~name/n018/g018,shop/guest~name/n019/g019,shop/guest~name/n020/g020,shop/guest~name/n021/g021,shop/guest~name/n022/g022,shop/guest~name/n023/g023,shop/guest~name/n024/g024,shop/guest~name/n025/g025,shop/guest~name/n026/g026,shop/guest~name/n027/g027,shop/guest~name/n028/g028,shop/guest~name/n029/g029,shop/guest~name/n030/g030,shop/guest~name/n031/g031,shop/guest~name/n032/g032,shop/guest~name/n033/g033,shop/guest~name/n034/g034,shop/guest~name/n035/g035,shop/guest~name/n036/g036,shop/guest~name/n037/g037,shop/guest~name/n038/g038,shop/guest~name/n039/g039,shop/guest~node/h0/g007,shop/guest~node/h0/g014,shop/guest~node/h0/g028,shop/guest~node/h0/g035,shop/guest~node/h1/g001,shop/guest~node/h1/g008,shop/guest~node/h1/g022,shop/guest~node/h1/g029,shop/guest~node/h2/g002,shop/guest~node/h2/g016,shop/guest~node/h2/g023,shop/guest~node/h2/g037,shop/guest~node/h3/g010,shop/guest~node/h3/g017,shop/guest~node/h3/g031,shop/guest~node/h3/g038,shop/guest~node/h4/g004,shop/guest~node/h4/g011,shop/guest~node/h4/g025,shop/guest~node/h4/g032,shop/guest~node/h5/g005,shop/guest~node/h5/g019,shop/guest~node/h5/g026,shop/guest~node/h6/g013,shop/guest~node/h6/g020,shop/guest~node/h6/g034}', '{1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}', '{"\\x7b226964223a2267303030222c226e616d65223a226e303030222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303031222c226e616d65223a226e303031222c226e6f6465223a226831227d","\\x7b226964223a2267303032222c226e616d65223a226e303032222c226e6f6465223a226832227d","\\x7b226964223a2267303033222c226e616d65223a226e303033222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303034222c226e616d65223a226e303034222c226e6f6465223a226834227d","\\x7b226964223a2267303035222c226e616d65223a226e303035222c226e6f6465223a226835227d","\\x7b226964223a2267303036222c226e616d65223a226e303036222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303037222c226e616d65223a226e303037222c226e6f6465223a226830227d","\\x7b226964223a2267303038222c226e616d65223a226e303038222c226e6f6465223a226831227d","\\x7b226964223a2267303039222c226e616d65223a226e303039222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303130222c226e616d65223a226e303130222c226e6f6465223a226833227d","\\x7b226964223a2267303131222c226e616d65223a226e303131222c226e6f6465223a226834227d","\\x7b226964223a2267303132222c226e616d65223a226e303132222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303133222c226e616d65223a226e303133222c226e6f6465223a226836227d","\\x7b226964223a2267303134222c226e616d65223a226e303134222c226e6f6465223a226830227d","\\x7b226964223a2267303135222c226e616d65223a226e303135222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303136222c226e616d65223a226e303136222c226e6f6465223a226832227d","\\x7b226964223a2267303137222c226e616d65223a226e303137222c226e6f6465223a226833227d","\\x7b226964223a2267303138222c226e616d65223a226e303138222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303139222c226e616d65223a226e303139222c226e6f6465223a226835227d","\\x7b226964223a2267303230222c226e616d65223a226e303230222c226e6f6465223a226836227d","\\x7b226964223a2267303231222c226e616d65223a226e303231222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303232222c226e616d65223a226e303232222c226e6f6465223a226831227d","\\x7b226964223a2267303233222c226e616d65223a226e303233222c226e6f6465223a226832227d","\\x7b226964223a2267303234222c226e616d65223a226e303234222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303235222c226e616d65223a226e303235222c226e6f6465223a226834227d","\\x7b226964223a2267303236222c226e616d65223a226e303236222c226e6f6465223a226835227d","\\x7b226964223a2267303237222c226e616d65223a226e303237222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303238222c226e616d65223a226e303238222c226e6f6465223a226830227d","\\x7b226964223a2267303239222c226e616d65223a226e303239222c226e6f6465223a226831227d","\\x7b226964223a2267303330222c226e616d65223a226e303330222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303331222c226e616d65223a226e303331222c226e6f6465223a226833227d","\\x7b226964223a2267303332222c226e616d65223a226e303332222c226e6f6465223a226834227d","\\x7b226964223a2267303333222c226e616d65223a226e303333222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303334222c226e616d65223a226e303334222c226e6f6465223a226836227d","\\x7b226964223a2267303335222c226e616d65223a226e303335222c226e6f6465223a226830227d","\\x7b226964223a2267303336222c226e616d65223a226e303336222c226e6f6465223a6e756c6c7d","\\x7b226964223a2267303337222c226e616d65223a226e303337222c226e6f6465223a226832227d","\\x7b226964223a2267303338222c226e616d65223a226e303338222c226e6f6465223a226833227d","\\x7b226964223a2267303339222c226e616d65223a226e303339222c226e6f6465223a6e756c6c7d","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c","\\x6e756c6c"}', '{}'),
	(2, '54af5d2c-cb24-4ade-8c01-de74c788a44b', 4052, '{shop/guesthouse/a}', '{2}', '{"\\x226e6f74206120677565737422"}', '{}'),
	(3, '5f85e971-bb5f-4c64-a293-2c9459f2ca2c', 4052, '{}', '{}', '{}', '{shop/log}'),
	(4, '54f5b696-4022-4891-9811-9b168f714135', 4052, '{}', '{}', '{}', '{shop/log}');


--
-- Data for Name: logs; Type: TABLE DATA; Schema: updraft; Owner: -
--

INSERT INTO updraft.logs VALUES
	('shop/log', 3, '\x6669727374'),
	('shop/log', 4, '\x7365636f6e64');


--
-- Data for Name: meta; Type: TABLE DATA; Schema: updraft; Owner: -
--

INSERT INTO updraft.meta VALUES
	(true, 1);


--
-- Data for Name: rows; Type: TABLE DATA; Schema: updraft; Owner: -
--

INSERT INTO updraft.rows VALUES
	('shop/guest/g000', 1, '\x7b226964223a2267303030222c226e616d65223a226e303030222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g001', 1, '\x7b226964223a2267303031222c226e616d65223a226e303031222c226e6f6465223a226831227d'),
	('shop/guest/g002', 1, '\x7b226964223a2267303032222c226e616d65223a226e303032222c226e6f6465223a226832227d'),
	('shop/guest/g003', 1, '\x7b226964223a2267303033222c226e616d65223a226e303033222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g004', 1, '\x7b226964223a2267303034222c226e616d65223a226e303034222c226e6f6465223a226834227d'),
	('shop/guest/g005', 1, '\x7b226964223a2267303035222c226e616d65223a226e303035222c226e6f6465223a226835227d'),
	('shop/guest/g006', 1, '\x7b226964223a2267303036222c226e616d65223a226e303036222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g007', 1, '\x7b226964223a2267303037222c226e616d65223a226e303037222c226e6f6465223a226830227d'),
	('shop/guest/g008', 1, '\x7b226964223a2267303038222c226e616d65223a226e303038222c226e6f6465223a226831227d'),
	('shop/guest/g009', 1, '\x7b226964223a2267303039222c226e616d65223a226e303039222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g010', 1, '\x7b226964223a2267303130222c226e616d65223a226e303130222c226e6f6465223a226833227d'),
	('shop/guest/g011', 1, '\x7b226964223a2267303131222c226e616d65223a226e303131222c226e6f6465223a226834227d'),
	('shop/guest/g012', 1, '\x7b226964223a2267303132222c226e616d65223a226e303132222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g013', 1, '\x7b226964223a2267303133222c226e616d65223a226e303133222c226e6f6465223a226836227d'),
	('shop/guest/g014', 1, '\x7b226964223a2267303134222c226e616d65223a226e303134222c226e6f6465223a226830227d'),
	('shop/guest/g015', 1, '\x7b226964223a2267303135222c226e616d65223a226e303135222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g016', 1, '\x7b226964223a2267303136222c226e616d65223a226e303136222c226e6f6465223a226832227d'),
	('shop/guest/g017', 1, '\x7b226964223a2267303137222c226e616d65223a226e303137222c226e6f6465223a226833227d'),
	('shop/guest/g018', 1, '\x7b226964223a2267303138222c226e616d65223a226e303138222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g019', 1, '\x7b226964223a2267303139222c226e616d65223a226e303139222c226e6f6465223a226835227d'),
	('shop/guest/g020', 1, '\x7b226964223a2267303230222c226e616d65223a226e303230222c226e6f6465223a226836227d'),
	('shop/guest/g021', 1, '\x7b226964223a2267303231222c226e616d65223a226e303231222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g022', 1, '\x7b226964223a2267303232222c226e616d65223a226e303232222c226e6f6465223a226831227d'),
	('shop/guest/g023', 1, '\x7b226964223a2267303233222c226e616d65223a226e303233222c226e6f6465223a226832227d'),
	('shop/guest/g024', 1, '\x7b226964223a2267303234222c226e616d65223a226e303234222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g025', 1, '\x7b226964223a2267303235222c226e616d65223a226e303235222c226e6f6465223a226834227d'),
	('shop/guest/g026', 1, '\x7b226964223a2267303236222c226e616d65223a226e303236222c226e6f6465223a226835227d'),
	('shop/guest/g027', 1, '\x7b226964223a2267303237222c226e616d65223a226e303237222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g028', 1, '\x7b226964223a2267303238222c226e616d65223a226e303238222c226e6f6465223a226830227d'),
	('shop/guest/g029', 1, '\x7b226964223a2267303239222c226e616d65223a226e303239222c226e6f6465223a226831227d'),
	('shop/guest/g030', 1, '\x7b226964223a2267303330222c226e616d65223a226e303330222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g031', 1, '\x7b226964223a2267303331222c226e616d65223a226e303331222c226e6f6465223a226833227d'),
	('shop/guest/g032', 1, '\x7b226964223a2267303332222c226e616d65223a226e303332222c226e6f6465223a226834227d'),
	('shop/guest/g033', 1, '\x7b226964223a2267303333222c226e616d65223a226e303333222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g034', 1, '\x7b226964223a2267303334222c226e616d65223a226e303334222c226e6f6465223a226836227d'),
	('shop/guest/g035', 1, '\x7b226964223a2267303335222c226e616d65223a226e303335222c226e6f6465223a226830227d'),
	('shop/guest/g036', 1, '\x7b226964223a2267303336222c226e616d65223a226e303336222c226e6f6465223a6e756c6c7d'),
	('shop/guest/g037', 1, '\x7b226964223a2267303337222c226e616d65223a226e303337222c226e6f6465223a226832227d'),
	('shop/guest/g038', 1, '\x7b226964223a2267303338222c226e616d65223a226e303338222c226e6f6465223a226833227d'),
	('shop/guest/g039', 1, '\x7b226964223a2267303339222c226e616d65223a226e303339222c226e6f6465223a6e756c6c7d'),
	('shop/guest~name/n000/g000', 1, '\x6e756c6c'),
	('shop/guest~name/n001/g001', 1, '\x6e756c6c'),
	('shop/guest~name/n002/g002', 1, '\x6e756c6c'),
	('shop/guest~name/n003/g003', 1, '\x6e756c6c'),
	('shop/guest~name/n004/g004', 1, '\x6e756c6c'),
	('shop/guest~name/n005/g005', 1, '\x6e756c6c'),
	('shop/guest~name/n006/g006', 1, '\x6e756c6c'),
	('shop/guest~name/n007/g007', 1, '\x6e756c6c'),
	('shop/guest~name/n008/g008', 1, '\x6e756c6c'),
	('shop/guest~name/n009/g009', 1, '\x6e756c6c'),
	('shop/guest~name/n010/g010', 1, '\x6e756c6c'),
	('shop/guest~name/n011/g011', 1, '\x6e756c6c'),
	('shop/guest~name/n012/g012', 1, '\x6e756c6c'),
	('shop/guest~name/n013/g013', 1, '\x6e756c6c'),
	('shop/guest~name/n014/g014', 1, '\x6e756c6c'),
	('shop/guest~name/n015/g015', 1, '\x6e756c6c'),
	('shop/guest~name/n016/g016', 1, '\x6e756c6c'),
	('shop/guest~name/n017/g017', 1, '\x6e756c6c'),
	('shop/guest~name/n018/g018', 1, '\x6e756c6c'),
	('shop/guest~name/n019/g019', 1, '\x6e756c6c'),
	('shop/guest~name/n020/g020', 1, '\x6e756c6c'),
	('shop/guest~name/n021/g021', 1, '\x6e756c6c'),
	('shop/guest~name/n022/g022', 1, '\x6e756c6c'),
	('shop/guest~name/n023/g023', 1, '\x6e756c6c'),
	('shop/guest~name/n024/g024', 1, '\x6e756c6c'),
	('shop/guest~name/n025/g025', 1, '\x6e756c6c'),
	('shop/guest~name/n026/g026', 1, '\x6e756c6c'),
	('shop/guest~name/n027/g027', 1, '\x6e756c6c'),
	('shop/guest~name/n028/g028', 1, '\x6e756c6c'),
	('shop/guest~name/n029/g029', 1, '\x6e756c6c'),
	('shop/guest~name/n030/g030', 1, '\x6e756c6c'),
	('shop/guest~name/n031/g031', 1, '\x6e756c6c'),
	('shop/guest~name/n032/g032', 1, '\x6e756c6c'),
	('shop/guest~name/n033/g033', 1, '\x6e756c6c'),
	('shop/guest~name/n034/g034', 1, '\x6e756c6c'),
	('shop/guest~name/n035/g035', 1, '\x6e756c6c'),
	('shop/guest~name/n036/g036', 1, '\x6e756c6c'),
	('shop/guest~name/n037/g037', 1, '\x6e756c6c'),
	('shop/guest~name/n038/g038', 1, '\x6e756c6c'),
	('shop/guest~name/n039/g039', 1, '\x6e756c6c'),
	('shop/guest~node/h0/g007', 1, '\x6e756c6c'),
	('shop/guest~node/h0/g014', 1, '\x6e756c6c'),
	('shop/guest~node/h0/g028', 1, '\x6e756c6c'),
	('shop/guest~node/h0/g035', 1, '\x6e756c6c'),
	('shop/guest~node/h1/g001', 1, '\x6e756c6c'),
	('shop/guest~node/h1/g008', 1, '\x6e756c6c'),
	('shop/guest~node/h1/g022', 1, '\x6e756c6c'),
	('shop/guest~node/h1/g029', 1, '\x6e756c6c'),
	('shop/guest~node/h2/g002', 1, '\x6e756c6c'),
	('shop/guest~node/h2/g016', 1, '\x6e756c6c'),
	('shop/guest~node/h2/g023', 1, '\x6e756c6c'),
	('shop/guest~node/h2/g037', 1, '\x6e756c6c'),
	('shop/guest~node/h3/g010', 1, '\x6e756c6c'),
	('shop/guest~node/h3/g017', 1, '\x6e756c6c'),
	('shop/guest~node/h3/g031', 1, '\x6e756c6c'),
	('shop/guest~node/h3/g038', 1, '\x6e756c6c'),
	('shop/guest~node/h4/g004', 1, '\x6e756c6c'),
	('shop/guest~node/h4/g011', 1, '\x6e756c6c'),
	('shop/guest~node/h4/g025', 1, '\x6e756c6c'),
	('shop/guest~node/h4/g032', 1, '\x6e756c6c');
INSERT INTO updraft.rows VALUES
	('shop/guest~node/h5/g005', 1, '\x6e756c6c'),
	('shop/guest~node/h5/g019', 1, '\x6e756c6c'),
	('shop/guest~node/h5/g026', 1, '\x6e756c6c'),
	('shop/guest~node/h6/g013', 1, '\x6e756c6c'),
	('shop/guest~node/h6/g020', 1, '\x6e756c6c'),
	('shop/guest~node/h6/g034', 1, '\x6e756c6c'),
	('shop/guesthouse/a', 2, '\x226e6f74206120677565737422');


--
-- Name: commits commits_pkey; Type: CONSTRAINT; Schema: updraft; Owner: -
--

ALTER TABLE ONLY updraft.commits
    ADD CONSTRAINT commits_pkey PRIMARY KEY (sequence);


--
-- Name: logs logs_pkey; Type: CONSTRAINT; Schema: updraft; Owner: -
--

ALTER TABLE ONLY updraft.logs
    ADD CONSTRAINT logs_pkey PRIMARY KEY (log, sequence);


--
-- Name: meta meta_pkey; Type: CONSTRAINT; Schema: updraft; Owner: -
--

ALTER TABLE ONLY updraft.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (one);


--
-- Name: rows rows_pkey; Type: CONSTRAINT; Schema: updraft; Owner: -
--

ALTER TABLE ONLY updraft.rows
    ADD CONSTRAINT rows_pkey PRIMARY KEY (key);


--
-- PostgreSQL database dump complete
--


