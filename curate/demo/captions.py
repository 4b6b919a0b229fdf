"""Says in English, and in seven other languages, what a drawn scene shows."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.demo.scenes import Scene, Thing

_PLURALS = {"cross": "crosses", "fish": "fish", "butterfly": "butterflies"}
_OPENINGS = [
    "{}",
    "Photo of {}",
    "A picture of {}",
    "A drawing of {}",
    "An illustration showing {}",
    "This image shows {}",
    "Simple artwork with {}",
    "Here you can see {}",
]


def english(scene: Scene, rng: random.Random) -> str:
    """A true caption of 5 to 30 words; `rng` chooses among the ways to say it."""
    what, where = _things(scene, rng), _background(scene, rng)
    if where and rng.random() < 0.15:
        verb = "are" if scene.relation == "same" else "is"
        sentence = f"{where} there {verb} {what}"
    else:
        opening = rng.choice(_OPENINGS if where else _OPENINGS[2:])
        sentence = f"{opening.format(what)} {where}".strip()
    sentence = sentence.rstrip(",")
    if rng.random() < 0.6:
        sentence = sentence[0].upper() + sentence[1:]
    return sentence + ("." if rng.random() < 0.4 else "")


def _things(scene: Scene, rng: random.Random) -> str:
    first, *others = scene.things
    if scene.relation == "single":
        return _single(scene, rng)
    if scene.relation == "same":
        plural = _PLURALS.get(first.shape, first.shape + "s")
        number, every = {2: ("two", "both"), 3: ("three", "all")}[len(scene.things)]
        return rng.choice([f"{number} {first.colour} {plural}", f"{number} {plural}, {every} {first.colour},"])
    if scene.relation == "row":
        a, b, c = (_one(thing) for thing in scene.things)
        return rng.choice([f"{a}, {b} and {c} in a row", f"{a} followed by {b} and {c}", f"{a}, {b} and {c}"])
    a, b = _one(first), _one(others[0])
    if scene.relation == "above":
        return rng.choice([f"{a} above {b}", f"{b} below {a}", f"{a} over {b}", f"{a} and, under it, {b},"])
    return rng.choice([f"{a} to the left of {b}", f"{b} to the right of {a}", f"{a} next to {b}", f"{b} beside {a}"])


def _single(scene: Scene, rng: random.Random) -> str:
    thing = scene.things[0]
    size = {"small": "small ", "large": "large ", "ordinary": ""}[scene.scale]
    named = f"a {size}{thing.colour} {thing.shape}" if size else _one(thing)
    if scene.scale == "large":
        return rng.choice([named, f"{named} that fills most of the picture", f"just {named}"])
    if scene.place == "middle":
        return rng.choice([named, f"{named} in the middle", f"a single {thing.colour} {thing.shape}"])
    return rng.choice([named, f"{named} in the {scene.place} corner", f"{named} at the {scene.place}"])


def _one(thing: Thing) -> str:
    article = "an" if thing.colour[0] in "aeiou" else "a"
    return f"{article} {thing.colour} {thing.shape}"


def _background(scene: Scene, rng: random.Random) -> str:
    if rng.random() < 0.2:
        return ""
    back = scene.background
    a = "an" if back.colour[0] in "aeiou" else "a"
    if back.pattern == "plain":
        ways = [f"on {a} {back.colour} background", f"against a plain {back.colour} background"]
    elif back.pattern == "gradient":
        ways = [
            f"on a background that fades from {back.colour} to {back.second}",
            f"in front of {back.colour} turning into {back.second}",
        ]
    elif back.pattern == "stripes":
        ways = [
            f"on {back.colour} and {back.second} stripes",
            f"in front of a striped background in {back.colour} and {back.second}",
        ]
    else:
        ways = [f"on a rough {back.colour} surface", f"on a grainy {back.colour} background"]
    return rng.choice(ways)


# Nouns and colour words below only meet in forms that need no agreement ("color rojo", "in Rot").
_WORDS = {
    "en": (
        "circle square triangle star heart arrow diamond cross house tree fish flower car moon cloud boat mushroom "
        "butterfly cup",
        "red green blue yellow orange purple pink brown black white grey teal",
    ),
    "de": (
        "Kreis Quadrat Dreieck Stern Herz Pfeil Raute Kreuz Haus Baum Fisch Blume Auto Mond Wolke Boot Pilz "
        "Schmetterling Tasse",
        "Rot Grün Blau Gelb Orange Lila Rosa Braun Schwarz Weiß Grau Türkis",
    ),
    "fr": (
        "cercle carré triangle étoile cœur flèche losange croix maison arbre poisson fleur voiture lune nuage bateau "
        "champignon papillon tasse",
        "rouge verte bleue jaune orange violette rose marron noire blanche grise turquoise",
    ),
    "es": (
        "círculo cuadrado triángulo estrella corazón flecha rombo cruz casa árbol pez flor coche luna nube barco seta "
        "mariposa taza",
        "rojo verde azul amarillo naranja morado rosa marrón negro blanco gris turquesa",
    ),
    "it": (
        "cerchio quadrato triangolo stella cuore freccia rombo croce casa albero pesce fiore automobile luna nuvola "
        "barca fungo farfalla tazza",
        "rosso verde blu giallo arancione viola rosa marrone nero bianco grigio turchese",
    ),
    "ru": (
        "круг квадрат треугольник звезда сердце стрелка ромб крест дом дерево рыба цветок машина луна облако лодка "
        "гриб бабочка чашка",
        "красный зелёный синий жёлтый оранжевый фиолетовый розовый коричневый чёрный белый серый бирюзовый",
    ),
    "ja": (
        "円 正方形 三角形 星 ハート 矢印 ひし形 十字 家 木 魚 花 車 月 雲 船 きのこ 蝶 カップ",
        "赤 緑 青 黄 オレンジ 紫 ピンク 茶 黒 白 灰 ターコイズ",
    ),
    "zh": (
        "圆形 正方形 三角形 星星 爱心 箭头 菱形 十字 房子 树 鱼 花 汽车 月亮 云 小船 蘑菇 蝴蝶 杯子",
        "红 绿 蓝 黄 橙 紫 粉 棕 黑 白 灰 青绿",
    ),
}
_SENTENCES = {
    "de": ("{} in {}", " und ", "Auf diesem Bild ist Folgendes zu sehen: {}, der Hintergrund ist in {} gehalten"),
    "fr": ("{} de couleur {}", " et ", "Sur cette image, on peut voir ceci : {}, avec un fond de couleur {}"),
    "es": ("{} de color {}", " y ", "En esta imagen se puede ver lo siguiente: {}, con un fondo de color {}"),
    "it": ("{} di colore {}", " e ", "In questa immagine si può vedere quanto segue: {}, con uno sfondo di colore {}"),
    "ru": ("{} (цвет: {})", " и ", "На этой картинке изображено следующее: {}, а цвет фона здесь {}"),
    "ja": ("{1}色の{0}", "と", "この画像には{1}色の背景の上に{0}が描かれています。とてもシンプルなイラストです。"),
    "zh": ("{1}色的{0}", "和", "这张图片上画着{0}，背景的颜色是{1}色，这是一幅非常简单的插图，适合孩子们观看。"),
}
LANGUAGES = tuple(_SENTENCES)


def foreign(scene: Scene, language: str) -> str:
    """A true caption in one of LANGUAGES, more than 25 characters long."""
    shape_of, colour_of = (
        dict(zip(ours.split(), theirs.split(), strict=True))
        for ours, theirs in zip(_WORDS["en"], _WORDS[language], strict=True)
    )
    one, joint, sentence = _SENTENCES[language]
    things = joint.join(one.format(shape_of[t.shape], colour_of[t.colour]) for t in dict.fromkeys(scene.things))
    return sentence.format(things, colour_of[scene.background.colour])
