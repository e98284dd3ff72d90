import { watch } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/** The text of a file, as soon as it is there. */
export async function appears(path: string): Promise<string> {
  const folder = watch(dirname(path))
  try {
    for (;;) {
      // Watched before it is looked for, so that nothing falls between.
      const changed = new Promise<void>((resolve) => folder.once('change', () => resolve()))
      const text = await readFile(path, 'utf8').catch(() => undefined)
      if (text !== undefined) return text
      await changed
    }
  } finally {
    folder.close()
  }
}
