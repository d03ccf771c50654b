#!/usr/bin/env node
// A complete jobd client in Node.js with its standard library alone: each argument is a line for the shell, run as a
// job; finishes are printed as they come; exits 0 if all succeeded.
//
//     JOBD_URL=jobd://127.0.0.1:7733 JOBD_TOKEN=... node client.js 'sleep 1' 'gzip -k /data/a.log'
const net = require('net');
const readline = require('readline');

const url = process.env.JOBD_URL || 'jobd://127.0.0.1:7733';
const [, host, port] = url.match(/^jobd:\/\/(.*):(\d+)$/) || [];
const socket = net.connect(host ? { host, port: Number(port) } : { path: url.replace('jobd+unix://', '') });
socket.setNoDelay();
socket.on('error', (problem) => { console.error(`client.js: ${problem.message}`); process.exitCode = 125; });

const lines = process.argv.slice(2);
if (process.env.JOBD_TOKEN) socket.write(`auth ${process.env.JOBD_TOKEN}\n`);
socket.write(`submit ${JSON.stringify(lines.map((shell) => ({ shell })))}\n`);

let running = lines.length;
process.exitCode = 1;
let failed = 0;
readline.createInterface({ input: socket }).on('line', (line) => {
    const [word, cursor, job, state] = line.split(' ', 4);
    if (word === 'error') { console.error(`client.js: ${line}`); socket.end(); }
    if (word !== '*') return;
    const outcome = JSON.parse(line.slice([word, cursor, job, state].join(' ').length));
    console.log(`job ${job} ${state}, exit code ${outcome.exit_code}, ${outcome.wall} s`);
    if (state !== 'succeeded') failed += 1;
    running -= 1;
    if (running === 0) { process.exitCode = failed ? 1 : 0; socket.end('quit\n'); }
});
