-- A store.db of version 5: two tenants more, of which one is suspended, with VMs
-- of the same name, as the build that made version 5 wrote it.
PRAGMA user_version = 5;
BEGIN TRANSACTION;
CREATE TABLE event ( tenant INTEGER NOT NULL REFERENCES tenant(id), seq INTEGER NOT NULL, at_ns INTEGER NOT NULL, body TEXT NOT NULL DEFAULT '', body_v INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (tenant, seq)) STRICT, WITHOUT ROWID;
INSERT INTO "event" VALUES(1,1,1795953250923816445,'{"type":"VM_CREATED","name":"web","status":"starting","ip_address":"10.77.0.3","mac_address":"02:a4:cd:e7:96:da","timestamp":"2026-11-29T11:54:10.923816445Z","message":"vm record created","uid":"5c26c805adc0e3b7","seq":1}',3);
INSERT INTO "event" VALUES(1,2,1795953250924214179,'{"type":"VM_RUNNING","name":"web","status":"running","ip_address":"10.77.0.3","mac_address":"02:a4:cd:e7:96:da","pid":5002,"timestamp":"2026-11-29T11:54:10.924214179Z","message":"vm running","uid":"5c26c805adc0e3b7","seq":2}',3);
INSERT INTO "event" VALUES(1,3,1795953250924297616,'{"type":"VM_READY","name":"web","status":"running","ip_address":"10.77.0.3","mac_address":"02:a4:cd:e7:96:da","pid":5002,"timestamp":"2026-11-29T11:54:10.924297616Z","message":"vm ready","uid":"5c26c805adc0e3b7","seq":3}',3);
INSERT INTO "event" VALUES(1,4,1795953250924674458,'{"type":"VM_STOPPED","name":"web","status":"stopped","ip_address":"10.77.0.3","mac_address":"02:a4:cd:e7:96:da","timestamp":"2026-11-29T11:54:10.924674458Z","message":"stopped","uid":"5c26c805adc0e3b7","seq":4}',3);
INSERT INTO "event" VALUES(2,1,1795953250922900197,'{"type":"VM_CREATED","name":"web","status":"starting","ip_address":"10.77.0.2","mac_address":"02:b0:f8:92:a9:dd","timestamp":"2026-11-29T11:54:10.922900197Z","message":"vm record created","uid":"aed3a4d4b1632835","seq":1}',3);
INSERT INTO "event" VALUES(2,2,1795953250923448947,'{"type":"VM_RUNNING","name":"web","status":"running","ip_address":"10.77.0.2","mac_address":"02:b0:f8:92:a9:dd","pid":5001,"timestamp":"2026-11-29T11:54:10.923448947Z","message":"vm running","uid":"aed3a4d4b1632835","seq":2}',3);
INSERT INTO "event" VALUES(2,3,1795953250923562801,'{"type":"VM_READY","name":"web","status":"running","ip_address":"10.77.0.2","mac_address":"02:b0:f8:92:a9:dd","pid":5001,"timestamp":"2026-11-29T11:54:10.923562801Z","message":"vm ready","uid":"aed3a4d4b1632835","seq":3}',3);
CREATE TABLE idem ( tenant INTEGER NOT NULL REFERENCES tenant(id), owner INTEGER NOT NULL, key TEXT NOT NULL, verb INTEGER NOT NULL, vm INTEGER NOT NULL, hash BLOB NOT NULL, at_ns INTEGER NOT NULL, PRIMARY KEY (tenant, owner, key)) STRICT, WITHOUT ROWID;
INSERT INTO "idem" VALUES(1,0,'k-team',541,2,X'C9C6C5CBBECDDA152A1C716CC199CC1752C9870AF7EE17874AC957111EB7A005',1795953250921208370);
INSERT INTO "idem" VALUES(2,1828732948,'k-web',531,-5849150257608054731,X'99D1CE3B8772C52EC2FDC658FCC5BCA0592C2F0F311CF69D3CF7ACD275624A08',1795953250922879389);
CREATE TABLE tenant ( id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_id INTEGER NOT NULL DEFAULT 0, last_seq INTEGER NOT NULL DEFAULT 0, spec TEXT NOT NULL DEFAULT '{}', spec_v INTEGER NOT NULL DEFAULT 1) STRICT;
INSERT INTO "tenant" VALUES(1,'default',1,4,'{}',1);
INSERT INTO "tenant" VALUES(2,'team',1,3,'{"created_at":"2026-11-29T11:54:10.921214839Z","quotas":{"vms":3,"cpus":0,"memory_mb":4096},"members":[{"kind":"user","id":1000,"role":"admin"},{"kind":"group","id":100,"role":"viewer"},{"kind":"user","id":1828732948,"role":"operator"}]}',1);
INSERT INTO "tenant" VALUES(4,'quiet',0,0,'{"suspended":true,"created_at":"2026-11-29T11:54:10.922173274Z"}',1);
CREATE TABLE vm ( uid INTEGER PRIMARY KEY, tenant INTEGER NOT NULL REFERENCES tenant(id), id INTEGER NOT NULL, name TEXT NOT NULL, state INTEGER NOT NULL, reason INTEGER NOT NULL, exit_status INTEGER NOT NULL, slot INTEGER NOT NULL UNIQUE, ipv4 INTEGER NOT NULL UNIQUE, mac BLOB NOT NULL UNIQUE, detail TEXT NOT NULL, created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, told_ready INTEGER NOT NULL DEFAULT 0, request TEXT NOT NULL DEFAULT '', request_v INTEGER NOT NULL DEFAULT 1, UNIQUE (tenant, name), UNIQUE (tenant, id)) STRICT;
INSERT INTO "vm" VALUES(-5849150257608054731,2,1,'web',3,0,0,0,172818434,X'02B0F892A9DD','',1795953250922884133,1795953250923562191,1,'{"name":"web","image":"busybox","runtime":"busybox","cpu_cores":1,"memory_mb":96,"env":["A=1"],"owner":1828732948}',3);
INSERT INTO "vm" VALUES(6640214627319866295,1,1,'web',4,4,0,1,172818435,X'02A4CDE796DA','stopped',1795953250923805775,1795953250924673985,0,'{"name":"web","image":"busybox","runtime":"busybox","cpu_cores":1,"memory_mb":96,"owner":1828732936}',3);
CREATE INDEX idem_at ON idem (at_ns);
COMMIT;
