"""Makes the pictures of tests/data: python3 make.py OUT"""
import io, os, struct, sys, zlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageCms
import pillow_heif
pillow_heif.register_heif_opener()
out = sys.argv[1]
os.makedirs(out, exist_ok=True)

def scene(w=240, h=180):
    """Four corners that tell orientation: red top left, green top right, blue bottom left, white bottom right."""
    im = Image.new("RGB", (w, h), (128, 128, 128))
    d = ImageDraw.Draw(im)
    d.rectangle([0, 0, w//2-1, h//2-1], fill=(200, 30, 30))
    d.rectangle([w//2, 0, w, h//2-1], fill=(30, 160, 40))
    d.rectangle([0, h//2, w//2-1, h], fill=(30, 40, 190))
    d.rectangle([w//2, h//2, w, h], fill=(240, 240, 240))
    return im
base = scene()
T = Image.Transpose
inverse = {1: None, 2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_90, 7: T.TRANSVERSE, 8: T.ROTATE_270}
for value, turn in inverse.items():
    im = base if turn is None else base.transpose(turn)
    exif = Image.Exif(); exif[0x0112] = value
    im.save(f"{out}/orientation-{value}.jpg", quality=88, exif=exif)
base.save(f"{out}/progressive.jpg", quality=88, progressive=True)
base.save(f"{out}/restarts.jpg", quality=90, restart_marker_rows=1)
base.convert("L").save(f"{out}/grey.jpg", quality=88)
# CMYK as Adobe writes it (Pillow writes the Adobe marker and inverted values).
base.convert("CMYK").save(f"{out}/cmyk.jpg", quality=92)
# PNG
rgba = base.convert("RGBA")
mask = Image.new("L", base.size, 0); ImageDraw.Draw(mask).ellipse([40, 30, 200, 150], fill=255)
mask = mask.filter(ImageFilter.GaussianBlur(2)); rgba.putalpha(mask)
rgba.save(f"{out}/alpha.png", optimize=True)
base.quantize(16).save(f"{out}/palette.png", optimize=True)
base.convert("L").save(f"{out}/grey.png", optimize=True)
def png16(path, arr):  # 16-bit RGB, which Pillow cannot write
    h, w, _ = arr.shape
    raw = b"".join(b"\0" + arr[y].astype(">u2").tobytes() for y in range(h))
    chunk = lambda t, d: struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))
png16(f"{out}/sixteen-bit.png", np.asarray(base).astype(np.uint32) * 257)
base.save(f"{out}/lossy.webp", quality=85)
rgba.save(f"{out}/alpha.webp", lossless=True)
frames = [base, base.transpose(T.ROTATE_180), Image.new("RGB", base.size, (0, 0, 0))]
frames[0].save(f"{out}/animated.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
frames[0].save(f"{out}/animated.webp", save_all=True, append_images=frames[1:], duration=80, quality=60)
small = base.resize((120, 90), Image.NEAREST)
small.save(f"{out}/plain.bmp")
base.save(f"{out}/lzw.tiff", compression="tiff_lzw")
# Not read by the service: it must say so.
base.save(f"{out}/plain.avif", quality=60)
# HEIC by libheif and x265: plain; with EXIF that says "turn" although the pixels are upright (must be ignored);
# 10 bit; with alpha.
base.save(f"{out}/plain.heic", quality=80)
exif = Image.Exif(); exif[0x0112] = 6
heif = pillow_heif.from_pillow(base.transpose(T.ROTATE_90))
heif.info["exif"] = exif.tobytes()
heif.save(f"{out}/turned.heic", quality=80)   # libheif turns orientation 6 into the container's rotation
rgba.save(f"{out}/alpha.heic", quality=80)
ten = pillow_heif.from_bytes("RGB;16", base.size, (np.asarray(base).astype(np.uint16) * 257).tobytes())
ten.save(f"{out}/ten-bit.heic", quality=80)

# A garment on a wall: a t-shirt in a photograph's light, noise and shadow, taken with the phone on its side.
rng = np.random.default_rng(7)
W, H = 1200, 900
yy, xx = np.mgrid[0:H, 0:W].astype(np.float32)
wall = np.stack([214 - 22*(xx/W) - 14*(yy/H), 208 - 22*(xx/W) - 14*(yy/H), 198 - 22*(xx/W) - 14*(yy/H)], -1)
shirt = Image.new("L", (W*2, H*2), 0)
pts = [(430,170),(530,130),(670,130),(770,170),(960,330),(870,430),(780,370),(780,780),(420,780),(420,370),(330,430),(240,330)]
ImageDraw.Draw(shirt).polygon([(x*2, y*2) for x, y in pts], fill=255)
ImageDraw.Draw(shirt).ellipse([1060, 200, 1340, 330], fill=0)
shirt = shirt.resize((W, H), Image.LANCZOS)
m = np.asarray(shirt).astype(np.float32)[..., None] / 255
shadow = np.asarray(shirt.filter(ImageFilter.GaussianBlur(28))).astype(np.float32)
shadow = np.roll(shadow, (22, 16), (0, 1))[..., None] / 255
lit = wall * (1 - 0.35 * shadow)
fold = 1 + 0.10*np.sin(xx/47 + yy/130)[..., None]
cloth = np.array([46, 70, 120], np.float32) * fold
photo = lit * (1 - m) + cloth * m
photo = np.clip(photo + rng.normal(0, 3.0, photo.shape), 0, 255).astype(np.uint8)
photo = Image.fromarray(photo)
exif = Image.Exif(); exif[0x0112] = 6; exif[0x010F] = "Made by Pillow"
photo.transpose(T.ROTATE_90).save(f"{out}/shirt.jpg", quality=82, exif=exif)
shirt.point(lambda v: 255 if v > 127 else 0).convert("1").save(f"{out}/shirt-mask.png", optimize=True)
for f in sorted(os.listdir(out)): print(os.path.getsize(f"{out}/{f}"), f)
print(sum(os.path.getsize(f"{out}/{f}") for f in os.listdir(out)))
