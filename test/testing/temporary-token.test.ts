import { existsSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openToken } from 'leafkeeper'
import { temporaryToken } from 'leafkeeper/testing'
import { expect, it } from 'vitest'

it('makes one token that opens with its own options, keeps its PIN to itself, and leaves nothing behind', async () => {
  const token = await temporaryToken()

  const opened = await openToken(token.options)
  expect(opened.description.label).toBe(token.label)
  await opened.close()

  const pinFile = join(token.folder, 'pin')
  expect(statSync(token.folder).mode & 0o077).toBe(0)
  expect(statSync(pinFile).mode & 0o077).toBe(0)
  expect(JSON.stringify(token)).not.toContain(await readFile(pinFile, 'utf8'))

  await expect(temporaryToken()).rejects.toMatchObject({
    code: 'AGENT_CONFIG_INVALID',
    message: expect.stringContaining(token.folder) as string,
  })

  await token.remove()
  await token.remove()
  expect(existsSync(token.folder)).toBe(false)
})
