// Publishes letters with the nats client, as a Node.js service would: to JetStream, waiting for its answer, or plainly.
// stdin: a JSON object a line, {"subject", "body", "headers", "id", "plain"}; stdout: an answer a line, in order,
// "confirmed", "duplicate", "refused: why" or, of a plain one, "sent". usage: NODE_PATH=... node publish_nats.js URL
'use strict'
const nats = require('nats')
const readline = require('node:readline')

function headersOf (letter) {
  if (!letter.headers) {
    return undefined
  }
  const headers = nats.headers()
  for (const [name, value] of Object.entries(letter.headers)) {
    for (const one of [value].flat()) {
      headers.append(name, String(one), nats.Match.Exact)
    }
  }
  return headers
}

async function publish (connection, letter) {
  const headers = headersOf(letter)
  if (letter.plain) {
    connection.publish(letter.subject, letter.body, { headers })
    return 'sent'
  }
  try {
    const said = await connection.jetstream().publish(letter.subject, letter.body, { headers, msgID: letter.id })
    return said.duplicate ? 'duplicate' : 'confirmed'
  } catch (failure) {
    return `refused: ${failure.message}`
  }
}

async function main (url) {
  const { hostname, port, username, password } = new URL(url)
  const connection = await nats.connect({
    servers: `${hostname}:${port}`, user: username || undefined, pass: password || undefined
  })
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(await publish(connection, JSON.parse(line)))
  }
  await connection.drain()
}

main(process.argv[2]).catch(failure => {
  console.error(failure.message)
  process.exit(1)
})
