// The compressed pages of Parquet. What a page claims to hold is held against what its bytes can give.

import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { CompressionType } from 'apache-arrow';
import { snappyUncompress } from 'hyparquet/src/snappy.js';
import { decompressLz4, decompressLz4Raw } from 'hyparquet-compressors';
import { decompress } from '../arrow/codecs.js';
import { Damage } from '../arrow/damage.js';

export function unpack(codec: string, bytes: Uint8Array, size: number): Uint8Array {
  const fits = (most: number) => {
    if (size > most * bytes.length + 64)
      throw new Damage(`a page of ${bytes.length} compressed bytes claims to be ${size} bytes`);
  };
  if (codec === 'UNCOMPRESSED') return bytes;
  if (size === 0) return new Uint8Array(0);
  switch (codec) {
    case 'SNAPPY': {
      // A copy of 64 bytes takes 3.
      fits(22);
      const page = new Uint8Array(size);
      snappyUncompress(bytes, page);
      return page;
    }
    case 'GZIP':
      return gunzipSync(bytes, { maxOutputLength: size });
    case 'BROTLI':
      return brotliDecompressSync(bytes, { maxOutputLength: size });
    case 'ZSTD':
      return decompress(CompressionType.ZSTD, bytes, size);
    case 'LZ4':
      fits(256);
      return decompressLz4(bytes, size);
    case 'LZ4_RAW':
      fits(256);
      return decompressLz4Raw(bytes, size);
    default:
      throw new Damage(`compressed with ${codec}, which is not read`);
  }
}
