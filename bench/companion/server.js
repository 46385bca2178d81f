// Uppy Companion in an express app of its own, as its documentation shows it, but for what would only slow it down: no session, no log.
import * as companion from '@uppy/companion'
import express from 'express'

const [port, storeEndpoint, folder] = process.argv.slice(2)
const { app } = companion.app({
  secret: 'of no use here',
  filePath: folder,
  server: { host: `127.0.0.1:${port}`, protocol: 'http' },
  corsOrigins: true,
  uploadUrls: [storeEndpoint],
  s3: {
    bucket: 'uploads',
    region: 'us-east-1',
    endpoint: storeEndpoint,
    forcePathStyle: true,
    key: 'AKIDEXAMPLE',
    secret: 'it only signs',
    expires: 3600,
    getKey: ({ filename }) => `${crypto.randomUUID()}-${filename}`,
  },
})
express().use(express.json()).use(app).listen(Number(port), '127.0.0.1')
