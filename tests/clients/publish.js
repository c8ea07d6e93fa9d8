// Publishes letters with amqplib, as a Node.js service would: confirmed, mandatory, persistent.
// stdin: a JSON object a line, {"exchange", "routing_key", "body", "options"}; stdout: an answer a line, in order,
// "confirmed", "refused" or "returned". usage: NODE_PATH=.../node_modules node publish.js URL
'use strict'
const amqplib = require('amqplib')
const readline = require('node:readline')

async function main (url) {
  const connection = await amqplib.connect(url)
  const channel = await connection.createConfirmChannel()
  const returned = new Set()
  const answers = []
  channel.on('return', message => returned.add(message.properties.headers['x-number']))
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const letter = JSON.parse(line)
    const number = answers.length
    const options = { persistent: true, mandatory: true, ...letter.options }
    options.headers = { ...options.headers, 'x-number': number }
    answers.push(new Promise(resolve => {
      channel.publish(letter.exchange, letter.routing_key, Buffer.from(letter.body), options,
        failure => resolve(failure ? 'refused' : returned.has(number) ? 'returned' : 'confirmed'))
    }))
  }
  for (const answer of answers) {
    console.log(await answer)
  }
  await connection.close()
}

main(process.argv[2]).catch(failure => {
  console.error(failure.message)
  process.exit(1)
})
